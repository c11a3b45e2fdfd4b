"""Classifier: a backbone, and the head with which its family was published for classification."""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from densevit.backbones.base import Backbone, Features
from densevit.backbones.class_heads import HEADS, ClassHead, PooledHead
from densevit.options import check_bools
from densevit.registry import BACKBONES, check_known
from densevit.segmentor import create_backbone
from densevit.weights import family_of, load_given

TOKENS = {"num_tokens", "class_token"}  # options for what a head that reads the grid alone does not need


class Classifier(nn.Module):
    """Image to logits of the whole image: (B, C, *S) -> (B, num_classes).

    `make_head` is `num_classes -> ClassHead`; by default that of the backbone. What the head does not read is
    taken out of the backbone (`ClassHead.leave_out`).
    """

    def __init__(self, backbone: Backbone, *, num_classes: int, make_head: Callable[[int], nn.Module] | None = None):
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        if getattr(backbone, "neck", None) is not None:
            raise ValueError("a classifier reads what is before the neck of its backbone; leave neck out")
        self.spatial_dims = backbone.spatial_dims
        self.in_channels = backbone.in_channels
        self.num_classes = num_classes
        self.backbone = backbone
        make_head = make_head or backbone.class_head or partial(PooledHead, backbone.out_channels[-1])
        self.class_head: ClassHead = make_head(num_classes)
        self.class_head.leave_out(backbone)

    def forward(self, x: Tensor) -> Tensor:
        return self.class_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Features:
        """What the head reads of an image (B, C, *S)."""
        return self.backbone.features(x, blocks=self.class_head.blocks, norm=self.class_head.norm)


class FeatureModel(nn.Module):
    """A backbone alone, as it is saved without a head: (B, C, *S) -> [(B, C_i, *S_i)], fine to coarse.

    Norms that only the maps of finer levels pass are taken out, as in a classifier.
    """

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone
        ClassHead().leave_out(backbone)

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.backbone(x)


def create_classifier(
    name: str,
    *,
    num_classes: int,
    head: str | None = None,
    head_options: Mapping[str, Any] | None = None,
    weights: str | Path | Mapping[str, Any] | None = None,
    **options: Any,
) -> Classifier:
    """Build a backbone by name with the head of its paper: (B, in_channels, *S) -> logits (B, num_classes).

    `head` names another one: "pooled" (a linear layer on the class token, or on the mean where there is none), "mean"
    (of the grid) or "map" (attention pooling); `head_options` go to it. `weights` is a checkpoint of the classifier, or
    keywords of `load_weights`. `options` are those of `create_backbone`; where a family was published for classes with
    options that are not its defaults here, such as the class token of ViT, they are the defaults.
    Unknown names of backbones raise KeyError, unknown heads ValueError, unknown options TypeError.
    """
    check_bools(signature(create_classifier).parameters, dict(num_classes=num_classes))
    if head is None and head_options:
        raise ValueError(f"head_options {sorted(head_options)} need a head; name one of {', '.join(HEADS)}")
    if head is not None:
        check_known(head, HEADS, what="no class head named")
    backbone = create_backbone(name, **{**published_for_classes(name, head), **options})
    make_head = None if head is None else partial(HEADS[head], backbone.out_channels[-1], **(head_options or {}))
    model = Classifier(backbone, num_classes=num_classes, make_head=make_head)
    if weights is not None:
        load_given(model, weights, backbone=name)
    return model


def published_for_classes(name: str, head: str | None = None) -> dict[str, Any]:
    """Options with which the family was published for classes, but for those that the variant has of its own."""
    published, builder = family_of(name).classifier, signature(BACKBONES.family(name)).parameters
    own = {key for key in published if BACKBONES.parameters(name)[key].default != builder[key].default}
    if head is not None and not HEADS[head].reads_tokens:
        own |= TOKENS
    return {key: value for key, value in published.items() if key not in own}
