"""This project's own names, and what belongs to no family: decoders that stand after any backbone.

UPerNet and the semantic FPN are named as mmsegmentation and transformers publish them.
"""

from densevit.weights.family import DecoderTraits, Family, Release, Row, names_like, within

_MOST_DOUBLINGS = 6


def _uper(norm: str, classifier: str) -> tuple[Row, ...]:
    """UPerNet by the names that a release gives batch norm and the classifier."""
    steps = ("bottleneck", "lateral_convs.{i}", "fpn_convs.{i}", "fpn_bottleneck")
    places = [("psp_modules.{i}.1.", "psp_modules.{i}.project."), *((f"{step}.", f"{step}.") for step in steps)]
    rows = [row for place in places for row in within(*place, "conv", (norm, "bn"))]
    return (*within("decode_head.", "decoder.", *rows), (f"decode_head.{classifier}", "head"))


MMSEG_UPER = _uper("bn", "conv_seg")
HUGGINGFACE_UPER = _uper("batch_norm", "classifier")

# mmsegmentation counts the upsamplings between the convolutions of a scale head.
MMSEG_FPN: tuple[Row, ...] = (
    ("neck.lateral_convs.{i}.conv", "decoder.lateral_convs.{i}"),
    ("neck.fpn_convs.{i}.conv", "decoder.fpn_convs.{i}"),
    *(
        row
        for j in range(_MOST_DOUBLINGS)
        for row in within(f"decode_head.scale_heads.{{i}}.{2 * j}.", f"decoder.branch.levels.{{i}}.{j}.", "conv", "bn")
    ),
    ("decode_head.conv_seg", "head"),
)

# Beside the decode head: the auxiliary head of training, and the statistics that normalise images.
MMSEG_IGNORED = (r"auxiliary_head\.", r"data_preprocessor\.")


def huggingface_block(theirs: str, ours: str, *, on_hub: str | None = None) -> tuple[Row, ...]:
    """Rows of a block of ViT or Swin in transformers: by the names of its modules since version 5, or by those of the
    files on the hub, which it still writes; there `on_hub` holds query, key and value."""
    if on_hub is None:
        names = (*(f"attention.{name}_proj" for name in "qkvo"), "mlp.fc1", "mlp.fc2")
    else:
        joint = (f"attention.{on_hub}.{name}" for name in ("query", "key", "value"))
        names = (*joint, "attention.output.dense", "intermediate.dense", "output.dense")
    return within(
        theirs,
        ours,
        ("layernorm_before", "norm1"),
        (names[:3], "attn.qkv", "join_qkv"),
        (names[3], "attn.proj"),
        ("layernorm_after", "norm2"),
        (names[4], "mlp.fc1"),
        (names[5], "mlp.fc2"),
    )


FAMILY = Family(
    name="densevit",
    releases={
        "densevit": Release(
            title="this project's own names",
            # Those of mmseg's Swin begin alike; backbone.network is a whole network of elsewhere.
            is_it=names_like(r"(backbone\.)?stages\.0\.downsample\.(?!norm\.|reduction\.)|backbone\.network\."),
            prefix="backbone.",
            # Of a model trained in mmsegmentation, where the decoder is a decode head.
            cleanups=((r"^decode_head\.conv_seg\.", "head."), (r"^decode_head\.decoder\.", "decoder.")),
        )
    },
    decoders={
        "uper": DecoderTraits(
            names_like(r"fpn_bottleneck\.conv\.weight"), lambda shapes: {"dim": shapes["fpn_bottleneck.conv.weight"][0]}
        ),
        "fpn": DecoderTraits(
            names_like(r"fpn_convs\.0\.weight"),
            lambda shapes: {
                "dim": shapes["lateral_convs.0.weight"][0],
                "head_dim": shapes["branch.levels.0.0.conv.weight"][0],
            },
        ),
        "linear": DecoderTraits(lambda shapes: {name.partition(".")[0] for name in shapes} == {"norm"}),
        "vt_fpn": DecoderTraits(names_like(r"rounds\.")),
    },
)
