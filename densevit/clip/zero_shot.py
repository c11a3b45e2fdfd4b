"""From a CLIP and the vectors of classes to networks that know these classes, of images and of pixels."""

from typing import Any

from torch import Tensor, nn

from densevit.backbones.class_heads import MeanHead, PooledHead
from densevit.backbones.clip_resnet import AttentionPoolHead
from densevit.backbones.clip_vit import EmbeddingHead
from densevit.clip.model import Clip
from densevit.weights.names import count_through, to_stages


class ZeroShotClassifier(nn.Module):
    """Image (B, C, *S) -> logits (B, K): the cosines with class vectors (K, width), times CLIP's factor."""

    def __init__(self, model: Clip, classes: Tensor):
        super().__init__()
        self.model = model
        self.register_buffer("classes", classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.model.scale * self.model.image_features(x) @ self.classes.mT


def dense_state(
    model: Clip, classes: Tensor, *, prompt_denoising: float = 0.0, key_smoothing: float = 0.0
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Keywords of `create_segmentor`, but for the backbone itself, and the weights of that segmentor.

    `prompt_denoising` and `key_smoothing` are options of its decoder. ValueError for an image encoder whose head has no
    form for single cells, such as a class token of other families, and to smooth by keys what has no attention last.
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
    options = dict(dense=True) if of_tokens else {}
    if key_smoothing and not (pooled or of_tokens):
        raise ValueError(
            "key_smoothing compares the keys of a last attention, which this image encoder has not; train CLIP with a "
            "clip_vit or a clip_resnet, or leave it out"
        )
    if key_smoothing and pooled:
        state |= {f"decoder.key.{name}": t.chunk(2)[0] for name, t in head.kv.state_dict().items()}
    elif key_smoothing:
        options["taps"], state = _tap_before_last(model, state)
    shape = (len(classes), width, *(1,) * model.spatial_dims)
    state["head.weight"] = (model.scale * classes).reshape(shape)
    described = dict(
        num_classes=len(classes),
        decoder="mask_clip",
        decoder_options=dict(width=width, value=pooled, bias=head.fc.bias is not None),
        backbone_options=options,
    )
    described["decoder_options"] |= {
        name: share
        for name, share in dict(prompt_denoising=prompt_denoising, key_smoothing=key_smoothing).items()
        if share
    }
    return described, {name: tensor.detach().clone() for name, tensor in state.items()}


def _tap_before_last(model: Clip, state: dict[str, Tensor]) -> tuple[tuple[int, int], dict[str, Tensor]]:
    """The last two blocks as levels, and the weights under the names that blocks then have, with those of its keys."""
    blocks = [block for stage in model.backbone.stages for block in stage.blocks]
    before, last = len(blocks) - 2, blocks[-1]
    if before < 0:
        raise ValueError("key_smoothing reads what goes into the last of at least two blocks, and this encoder has one")
    names = [*(f"backbone.stages.0.blocks.{k}.all" for k in range(before + 1)), "backbone.stages.1.blocks.0.all"]
    names += [f"backbone.out_norms.1.{kind}" for kind in ("weight", "bias")]
    state = to_stages(count_through(state, norm=True), names)
    keys = {f"decoder.key.{name}": t.chunk(3)[1] for name, t in last.attn.qkv.state_dict().items()}
    norms = {f"decoder.key_norm.{name}": tensor for name, tensor in last.norm1.state_dict().items()}
    return (before, before + 1), state | keys | norms
