"""Swin UNETR.

MONAI changed the order in which patches are merged, and its weights do not say with which they were trained.
"""

from collections.abc import Collection
from dataclasses import replace

from torch import nn

from densevit.backbones.swin import UNETR_VARIANTS
from densevit.blocks.window import PatchMerging
from densevit.weights.families import swin, unetr
from densevit.weights.family import Family, Pair, Release, names_like, within
from densevit.weights.published import at_address

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

_MONAI = Release(
    title="Swin UNETR of MONAI 1.5 and later",
    publisher="Project-MONAI",
    licence="Apache-2.0",
    is_it=names_like(r"(swinViT\.)?layers1\.0\.blocks\.0\.attn\."),
    prefix="swinViT.",
    backbone=_ENCODER,
    decoder=_DECODER,
    # The heads of self-supervised training: rotation, contrast, reconstruction.
    ignored=(*swin.BUFFERS, r"(rotation|contrastive)_head\.", r"conv\."),
    cleanups=((r"\.mlp\.fc(\d)\.", r".mlp.linear\1."),),
    options=dict(merge_order="fixed"),
    unsure=(
        "it does not say in which order its mergings stack their neighbours, and another order gives other maps; "
        "name the source: monai_legacy_swin_unetr for weights published with the paper and those of MONAI before 1.5, "
        "with merge_order='legacy' in the backbone, monai_swin_unetr for those of MONAI 1.5 and later, "
        "monai_v2_swin_unetr for downsample='mergingv2', with merge_order='v2'"
    ),
)


def _merge_order(modules: Collection[nn.Module]) -> str | None:
    """That of a model; None in 2D, where all orders are the same."""
    orders = [module.merge_order for module in modules if isinstance(module, PatchMerging) and module.has_orders]
    return orders[0] if orders else None


FAMILY = Family(
    name="swin_unetr",
    variants=tuple(UNETR_VARIANTS),
    releases={
        "monai_legacy_swin_unetr": replace(
            _MONAI,
            title="Swin UNETR of its authors and of MONAI before 1.5; the self-supervised encoder",
            hub=("model_swinvit.pt",),
            trained_on="BTCV",
            # The names of the self-supervised encoder, which was published with the paper.
            is_it=names_like(r"(swinViT\.)?layers1\.0\.blocks\.0\.mlp\.fc1\."),
            options=dict(merge_order="legacy"),
            unsure="",
            files=at_address(
                "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/{}.pt",
                [("swin_unetr_base", "model_swinvit")],
                options=dict(spatial_dims=3, in_channels=1, merge_order="legacy"),
                trained_on="CT scans without labels",
                normalization=None,
            ),
        ),
        "monai_swin_unetr": _MONAI,
        "monai_v2_swin_unetr": replace(
            _MONAI,
            title="Swin UNETR of MONAI with downsample='mergingv2'",
            is_it=lambda _: False,  # its tensors are like the others'
            options=dict(merge_order="v2"),
            unsure="",
        ),
    },
    options=swin.FAMILY.options,
    varying=swin.VARYING,
    rules=dict(merge_order=_merge_order),
    pairs=tuple(Pair(name, "unetr", 14) for name in UNETR_VARIANTS),
    crop_options=swin.FAMILY.crop_options,
    crop_reason=swin.FAMILY.crop_reason,
)
