"""Swin UNETR."""

from densevit.backbones.swin_unetr import VARIANTS
from densevit.weights.families import swin, unetr
from densevit.weights.family import Family, Pair, Release, names_like, within

_ENCODER = (
    ("patch_embed.proj", "stages.0.downsample.proj"),
    *swin.block("layers{i}.0.blocks.{j}.", "stages.{i}.blocks.{j}.", "mlp.linear1", "mlp.linear2"),
    *within("layers{i}.0.downsample.", "stages.{i}.blocks.2.", "norm", "reduction"),
)
# The encoders and decoders are counted from the image downwards, beginning with 1.
_DECODER = (
    *(row for n in (1, 2, 3, 4) for row in unetr.block(f"encoder{n}.layer", f"decoder.skips.{n - 1}")),
    *unetr.block("encoder10.layer", "decoder.skips.5"),
    *(row for n in (1, 2, 3, 4, 5) for row in unetr.step(f"decoder{n}", f"decoder.ups.{n - 1}")),
    unetr.HEAD,
)

FAMILY = Family(
    name="swin_unetr",
    variants=tuple(VARIANTS),
    releases={
        "monai_swin_unetr": Release(
            title="Swin UNETR of MONAI, and its self-supervised encoder",
            publisher="Project-MONAI",
            hub=("model_swinvit.pt",),
            licence="Apache-2.0",
            trained_on="BTCV",
            is_it=names_like(r"(swinViT\.)?layers1\.0\.blocks\.0\.attn\."),
            prefix="swinViT.",
            backbone=_ENCODER,
            decoder=_DECODER,
            # The heads of self-supervised training: rotation, contrast, reconstruction.
            ignored=(*swin.BUFFERS, r"(rotation|contrastive)_head\.", r"conv\."),
            cleanups=((r"\.mlp\.fc(\d)\.", r".mlp.linear\1."),),
            remarks=(
                "the file does not say in which order its mergings stack their neighbours: weights published with the "
                "paper, and those of MONAI before 1.5, need merge_order='legacy'; those of "
                "downsample='mergingv2' need 'v2'",
            ),
        )
    },
    options=swin.FAMILY.options,
    varying=swin.VARYING,
    pairs=tuple(Pair(name, "unetr", 14) for name in VARIANTS),
    crop_options=swin.FAMILY.crop_options,
    crop_reason=swin.FAMILY.crop_reason,
)
