"""BiT."""

from densevit.backbones.bit import VARIANTS
from densevit.weights import flax
from densevit.weights.family import Family, Release, Row, Shapes, names_like, within
from densevit.weights.published import HALF, at_address, at_hub

_LAST_NORM: Row = ("norm", "out_norms.3")


def _block(theirs: str) -> tuple[Row, ...]:
    numbered = [(f"{kind}{n + 1}", f"{kind}s.{n}") for n in range(3) for kind in ("norm", "conv")]
    return within(theirs, "stages.{i}.blocks.{j}.", *numbered, ("downsample.conv", "skip"))


def _google() -> tuple[Row, ...]:
    unit, ours, kernel = "block{i+1}/unit{j+1:02}/", "stages.{i}.blocks.{j}.", "standardized_conv2d"
    gamma = dict(scale="gamma", bias="beta")
    parts = [(f"{unit}{letter}/", n) for n, letter in enumerate("abc")]
    rows = [
        *flax.layer(f"root_block/{kernel}", "stages.0.downsample.proj", bias=False),
        *(row for part, n in parts for row in flax.layer(f"{part}{kernel}", f"{ours}convs.{n}", bias=False)),
        *(row for part, n in parts for row in flax.norm(f"{part}group_norm", f"{ours}norms.{n}", **gamma)),
        *flax.layer(f"{unit}a/proj/{kernel}", f"{ours}skip", bias=False),
        *flax.norm("group_norm", "out_norms.3", **gamma),
    ]
    return tuple((f"resnet/{theirs}", *rest) for theirs, *rest in rows)


def _is_timm(shapes: Shapes) -> bool:
    """ResNets v2 with batch norm have the same names and running means."""
    named = names_like(r"stem\.conv\.weight$", r"stages\.0\.blocks\.0\.norm3\.")(shapes)
    return named and not any(name.endswith("running_mean") for name in shapes)


_SIZES = tuple(name.removeprefix("bit_r") for name in VARIANTS)
_TIMM_FILES = (
    *at_hub(
        "timm/resnetv2_{}_bit.goog_in21k_ft_in1k",
        ((f"bit_r{size}", size) for size in _SIZES),
        num_classes=1000,
        trained_on="ImageNet-21k, then ImageNet-1k",
        short="imagenet",
        normalization=HALF,
    ),
    *at_hub(
        "timm/resnetv2_{}_bit.goog_in21k",
        ((f"bit_r{size}", size) for size in _SIZES),
        num_classes=21843,
        trained_on="ImageNet-21k",
        normalization=HALF,
    ),
)
_GOOGLE_FILES = at_address(
    "https://storage.googleapis.com/bit_models/BiT-M-R{}.npz",
    ((f"bit_r{size}", size) for size in _SIZES),
    num_classes=21843,
    trained_on="ImageNet-21k",
    normalization=HALF,
)

FAMILY = Family(
    name="bit",
    variants=tuple(VARIANTS),
    releases={
        "timm_bit": Release(
            title="BiT of timm",
            publisher="huggingface/pytorch-image-models",
            hub=("resnetv2_50x1_bit.goog_in21k_ft_in1k",),
            licence="Apache-2.0",
            trained_on="ImageNet-21k, some fine-tuned on ImageNet-1k",
            is_it=_is_timm,
            backbone=(("stem.conv", "stages.0.downsample.proj"), *_block("stages.{i}.blocks.{j}."), _LAST_NORM),
            class_head=(("head.fc", "class_head.fc", "pointwise"),),
            files=_TIMM_FILES,
        ),
        "google_bit": Release(
            title="BiT of its authors, .npz files",
            publisher="google-research/big_transfer",
            hub=("BiT-M-R50x1.npz", "BiT-S-R50x1.npz"),
            licence="Apache-2.0",
            trained_on="ImageNet-21k, ImageNet-1k",
            is_it=names_like("resnet/root_block/standardized_conv2d/", "resnet/block1/unit01/a/group_norm/"),
            backbone=_google(),
            class_head=(
                ("resnet/head/conv2d/kernel!", "class_head.fc.weight!", "flax_pointwise"),
                ("resnet/head/conv2d/bias!", "class_head.fc.bias!"),
            ),
            files=_GOOGLE_FILES,
        ),
        "huggingface_bit": Release(
            title="BiT of transformers",
            publisher="huggingface/transformers",
            hub=("model.safetensors", "pytorch_model.bin"),
            is_it=names_like(r"(bit\.)?embedder\.convolution\.", r"(bit\.)?encoder\.stages\.0\.layers\.0\.norm1\."),
            prefix="bit.",
            backbone=(
                ("embedder.convolution", "stages.0.downsample.proj"),
                *_block("encoder.stages.{i}.layers.{j}."),
                _LAST_NORM,
            ),
            class_head=(("classifier.1", "class_head.fc"),),
        ),
    },
)
