"""Classifier: a backbone, and the head with which its family was published for classification."""

from typing import Any

from torch import Tensor, nn

from densevit.backbones.base import Backbone
from densevit.backbones.class_heads import PooledHead
from densevit.segmentor import create_backbone
from densevit.weights import family_of


class Classifier(nn.Module):
    """Image to logits of the whole image: (B, C, *S) -> (B, num_classes)."""

    def __init__(self, backbone: Backbone, *, num_classes: int):
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        self.backbone = backbone
        make_head = backbone.class_head
        self.class_head = (
            PooledHead(backbone.out_channels[-1], num_classes) if make_head is None else make_head(num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        head = self.class_head
        return head(self.backbone.features(x, blocks=head.blocks, norm=head.norm))


def create_classifier(name: str, *, num_classes: int, **options: Any) -> Classifier:
    """Build a backbone by name with the head of its paper: (B, in_channels, *S) -> logits (B, num_classes).

    `options` are those of `create_backbone`. Where a family was published for classification with options that are not
    its defaults here, such as the class token of ViT, they are the defaults.
    """
    return Classifier(create_backbone(name, **{**family_of(name).classifier, **options}), num_classes=num_classes)
