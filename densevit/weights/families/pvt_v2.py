"""PVT v2."""

from densevit.backbones.pvt_v2 import VARIANTS
from densevit.weights.family import Family, Pair, Release, Row, Shapes, names_like, within
from densevit.weights.published import at_address, at_hub

BLOCK, EMBEDDING = "stages.{i}.blocks.{j}.", "stages.{i}.downsample."
_ATTENTION = ("attn.q", "attn.kv", "attn.proj", ("attn.sr", "attn.sr.conv"), ("attn.norm", "attn.sr.norm"))
_NAMES = ("norm1", *_ATTENTION, "norm2", "mlp.fc1", "mlp.fc2")

# Of PVT v1 and MiT too.
OFFICIAL = (
    *within("patch_embed{i+1}.", EMBEDDING, "proj", "norm"),
    *within("block{i+1}.{j}.", BLOCK, *_NAMES, ("mlp.dwconv.dwconv", "mlp.dwconv")),
    ("norm{i+1}", "stages.{i}.norm"),
)
CLASS_HEAD: tuple[Row, ...] = (("head", "class_head.fc"),)
_TIMM = (
    *within("patch_embed.", "stages.0.downsample.", "proj", "norm"),
    *within("stages.{i}.", "stages.{i}.", "downsample.proj", "downsample.norm"),
    *within(BLOCK, BLOCK, *_NAMES, "mlp.dwconv"),
    ("stages.{i}.norm", "stages.{i}.norm"),
)


_ON_IMAGENET = dict(score="{} % top-1 on ImageNet", num_classes=1000, trained_on="ImageNet-1k")
_TOP = dict(pvt_v2_b0=70.5, pvt_v2_b1=78.7, pvt_v2_b2=82.0, pvt_v2_b2_li=82.1, pvt_v2_b3=83.1, pvt_v2_b4=83.6)
_TOP |= dict(pvt_v2_b5=83.8)


def is_official(shapes: Shapes) -> bool:
    """PVT v2 has MiT's names: FFN ratio 8 or pooled attention tell them apart, and B5 is MiT-B5 tensor for tensor."""
    hidden, dim = shapes.get("block1.0.mlp.fc1.weight", (0, 1))[:2]
    return not names_like(r"pos_embed1$")(shapes) and (hidden == 8 * dim or "block4.0.attn.sr.weight" in shapes)


FAMILY = Family(
    name="pvt_v2",
    variants=tuple(VARIANTS),
    releases={
        "whai362_pvt_v2": Release(
            title="PVT v2 as its authors released it",
            publisher="whai362/PVT",
            hub=("pvt_v2_b2.pth",),
            licence="Apache-2.0",
            trained_on="ImageNet",
            is_it=is_official,
            backbone=OFFICIAL,
            class_head=CLASS_HEAD,
            files=at_address(
                "https://github.com/whai362/PVT/releases/download/v2/{}.pth",
                ((name, name, top) for name, top in _TOP.items() if name != "pvt_v2_b2_li"),
                **_ON_IMAGENET,
            ),
        ),
        "timm_pvt_v2": Release(
            title="PVT v2 of timm",
            publisher="huggingface/pytorch-image-models",
            hub=("pvt_v2_b2", "pvt_v2_b2_li"),
            is_it=names_like(r"patch_embed\.proj\.", r"stages[._]0\.blocks\.0\.attn\.kv\."),
            backbone=_TIMM,
            class_head=CLASS_HEAD,
            cleanups=((r"^stages_(\d)", r"stages.\1"),),
            files=at_hub(
                "timm/{}.in1k",
                ((name, name, top) for name, top in _TOP.items()),
                **_ON_IMAGENET,
                licence="Apache-2.0",
                short="imagenet",
            ),
        ),
    },
    pairs=tuple(Pair(f"pvt_v2_b{i}", "fpn", 150) for i in range(6)),
    mmseg={"PVTv2": "pvt_v2"},
)
