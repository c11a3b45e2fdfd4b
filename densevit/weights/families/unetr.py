"""UNETR: its encoder is a ViT, its decoder serves Swin UNETR too."""

from densevit.weights.family import (
    DecoderTraits,
    Family,
    Pair,
    Release,
    Row,
    image_size,
    names_like,
    num_registers,
    num_tokens,
    patch_size,
    within,
)

POSITION = "stages.0.downsample.position."
OPTIONS = dict(patch_size=patch_size, image_size=image_size, num_tokens=num_tokens, num_registers=num_registers)
VARYING = r"\.pos_embed$|(cls|dist|reg)_token$|backbone\.(out_)?norms?\."
# A model without the tokens or the norm leaves them out; one that has a norm must find it.
ABSENT = (r"backbone\.stages\.0\.downsample\.position\.tokens\.", r"backbone\.norm\.")

_ENCODER = (
    ("patch_embedding.position_embeddings!", f"{POSITION}pos_embed!"),
    # "perceptron", the default of UNETR, then "conv".
    ("patch_embedding.patch_embeddings.1", "stages.0.downsample.proj", "perceptron"),
    ("patch_embedding.patch_embeddings", "stages.0.downsample.proj"),
    *within("blocks.{k}.", "blocks.{k}.", "norm1", "attn.qkv", ("attn.out_proj", "attn.proj"), "norm2"),
    *within("blocks.{k}.mlp.", "blocks.{k}.mlp.", ("linear1", "fc1"), ("linear2", "fc2")),
    ("norm", "norm"),
)


def block(theirs: str, ours: str) -> tuple[Row, ...]:
    """A residual block; the third convolution is there only where the widths differ."""
    return within(f"{theirs}.", f"{ours}.", *((f"conv{n}.conv", f"conv{n}") for n in (1, 2, 3)))


def step(theirs: str, ours: str) -> tuple[Row, ...]:
    """One doubling of the map, joined with a skip."""
    return ((f"{theirs}.transp_conv.conv", f"{ours}.up"), *block(f"{theirs}.conv_block", f"{ours}.merge"))


def _tower(theirs: str, ours: str) -> tuple[Row, ...]:
    convolutions = ((f"1.conv{n}.conv", f"merge.conv{n}") for n in (1, 2))
    rows = within(f"{theirs}.blocks.{{i}}.", f"{ours}.{{i+1}}.", ("0.conv", "up"), *convolutions)
    return ((f"{theirs}.transp_conv_init.conv", f"{ours}.0"), *rows)


HEAD: Row = ("out.conv.conv", "head")
# The encoders and decoders are counted from the image downwards, beginning with 1 and with 2.
_DECODER = (
    *block("encoder1.layer", "decoder.skips.0"),
    *(row for n in (2, 3, 4) for row in _tower(f"encoder{n}", f"decoder.skips.{n - 1}")),
    *(row for n in (2, 3, 4, 5) for row in step(f"decoder{n}", f"decoder.ups.{n - 2}")),
    HEAD,
)
# Tensors that MONAI's classes make, in one version or another, and never use.
_UNUSED = (
    r"patch_embedding\.cls_token$",
    r"blocks\.\d+\.(norm_cross_attn|cross_attn)\.",
    r"encoder\d\.blocks\.\d\.1\.conv3\.",
)

MONAI = Release(
    title="UNETR of MONAI and of its authors, whole, or MONAI's ViT",
    publisher="Project-MONAI",
    hub=("UNETR_model_best_acc.pth",),
    licence="Apache-2.0",
    trained_on="BTCV",
    is_it=names_like(r"(vit\.)?patch_embedding\.position_embeddings$"),
    prefix="vit.",
    backbone=_ENCODER,
    decoder=_DECODER,
    ignored=_UNUSED,
    absent=ABSENT,
)

FAMILY = Family(
    name="unetr",
    variants=("unetr_vit_base",),
    releases={"monai_vit": MONAI},
    options=OPTIONS,
    varying=VARYING,
    decoders={
        "unetr": DecoderTraits(
            names_like(r"ups\.0\.merge\.conv1\.weight"), lambda shapes: {"dim": shapes["ups.0.merge.conv1.weight"][0]}
        )
    },
    pairs=(Pair("unetr_vit_base", "unetr", 14),),
    crop_options=lambda crop: dict(image_size=crop),
    crop_reason="the table of positions is made for the crop",
)
