"""From a CLIP and the vectors of classes to networks that know these classes, of images and of pixels."""

from typing import Any

from torch import Tensor, nn

from densevit.backbones.class_heads import MeanHead, PooledHead
from densevit.backbones.clip_resnet import AttentionPoolHead
from densevit.backbones.clip_vit import EmbeddingHead
from densevit.clip.model import Clip


class ZeroShotClassifier(nn.Module):
    """Image (B, C, *S) -> logits (B, K): the cosines with class vectors (K, width), times CLIP's factor."""

    def __init__(self, model: Clip, classes: Tensor):
        super().__init__()
        self.model = model
        self.register_buffer("classes", classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.model.scale * self.model.image_features(x) @ self.classes.mT


def dense_state(model: Clip, classes: Tensor) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Keywords of `create_segmentor`, but for the backbone itself, and the weights of that segmentor.

    ValueError for an image encoder whose head has no form for single cells, such as a class token of other families.
    """
    head, width = model.class_head, model.num_classes
    state = {f"backbone.{name}": tensor for name, tensor in model.backbone.state_dict().items()}
    state["decoder.proj.weight"] = head.fc.weight
    if head.fc.bias is not None:
        state["decoder.proj.bias"] = head.fc.bias
    pooled = isinstance(head, AttentionPoolHead)
    if pooled:
        state |= {f"decoder.value.{name}": t.chunk(2)[1] for name, t in head.kv.state_dict().items()}
    plain = isinstance(head, PooledHead | MeanHead) and isinstance(head.pool_norm, nn.Identity)
    of_tokens = isinstance(head, EmbeddingHead)
    of_cells = plain and not (head.reads_tokens and any(name.endswith("cls_token") for name in state))
    if not (pooled or of_tokens or of_cells):
        raise ValueError(
            f"zero-shot segmentation reads single cells, and the {type(head).__name__} of this image encoder reads "
            "another thing; train CLIP with a clip_vit, a clip_resnet or a backbone without class token"
        )
    shape = (len(classes), width, *(1,) * model.spatial_dims)
    state["head.weight"] = (model.scale * classes).reshape(shape)
    described = dict(
        num_classes=len(classes),
        decoder="mask_clip",
        decoder_options=dict(width=width, value=pooled, bias=head.fc.bias is not None),
        backbone_options=dict(dense=True) if of_tokens else {},
    )
    return described, {name: tensor.detach().clone() for name, tensor in state.items()}
