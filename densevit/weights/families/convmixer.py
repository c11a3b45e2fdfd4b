"""ConvMixer. Its authors' files name modules by their places in nested sequences; blocks begin at the third."""

from densevit.backbones.convmixer import VARIANTS
from densevit.weights.family import Family, Release, Row, Shapes, names_like, patch_size, within
from densevit.weights.published import at_hub

_DEPTHS = (20, 32)  # of those released


def _rows(stem: str, block: str) -> tuple[Row, ...]:
    return (
        (f"{stem}0", "stages.0.downsample.proj"),
        (f"{stem}2", "stages.0.downsample.norm"),
        *within(block, "blocks.{k}.", ("0.fn.0", "dwconv"), ("0.fn.2", "norm1"), ("1", "fc"), ("3", "norm2")),
    )


def _kernel_size(shapes: Shapes) -> int:
    return next(shape[2] for name, shape in shapes.items() if name.endswith(".dwconv.weight"))


_FILES = at_hub(
    "timm/{}.in1k",
    zip(VARIANTS, VARIANTS, (81.37, 80.16, 76.94), strict=True),
    num_classes=1000,
    trained_on="ImageNet-1k",
    score="{} % top-1 on ImageNet",
    short="imagenet",
)
_PUBLISHED = dict(
    hub=("convmixer_1536_20_ks9_p7.pth.tar", "convmixer_768_32_ks7_p7_relu.pth.tar"),
    licence="MIT",
    trained_on="ImageNet-1k",
)
FAMILY = Family(
    name="convmixer",
    variants=tuple(VARIANTS),
    releases={
        "locuslab_convmixer": Release(
            title="ConvMixer as its authors released it",
            publisher="locuslab/convmixer",
            is_it=names_like(r"0\.weight$", r"3\.0\.fn\.0\."),
            backbone=_rows("", "{k+3}."),
            class_head=tuple((str(depth + 5), "class_head.fc") for depth in _DEPTHS),
            **_PUBLISHED,
        ),
        "timm_convmixer": Release(
            title="ConvMixer of timm",
            publisher="huggingface/pytorch-image-models",
            is_it=names_like(r"stem\.0\.weight$", r"blocks\.0\.0\.fn\.0\."),
            backbone=_rows("stem.", "blocks.{k}."),
            class_head=(("head", "class_head.fc"),),
            files=_FILES,
            **_PUBLISHED,
        ),
    },
    options=dict(patch_size=patch_size, kernel_size=_kernel_size),
    varying=r"\.dwconv\.weight$",
)
