"""Key maps of decoders that releases share whatever their backbone: rows for the `decoder` of a Source."""

from densevit.weights.maps.source import Row

_MOST_DOUBLINGS = 6


def _uper(norm: str, classifier: str) -> tuple[Row, ...]:
    """UPerNet by the name that a release gives batch norm and the classifier."""
    steps = ("psp_modules.{i}.1", "bottleneck", "lateral_convs.{i}", "fpn_convs.{i}", "fpn_bottleneck")
    ours = {"psp_modules.{i}.1": "psp_modules.{i}.project"}
    parts = (("conv", "conv"), (norm, "bn"))
    rows = tuple(
        (f"decode_head.{step}.{theirs}", f"decoder.{ours.get(step, step)}.{part}")
        for step in steps
        for theirs, part in parts
    )
    return (*rows, (f"decode_head.{classifier}", "head"))


MMSEG_UPER = _uper("bn", "conv_seg")
HUGGINGFACE_UPER = _uper("batch_norm", "classifier")

# mmsegmentation counts the upsamplings between the convolutions of a scale head.
MMSEG_FPN: tuple[Row, ...] = (
    ("neck.lateral_convs.{i}.conv", "decoder.lateral_convs.{i}"),
    ("neck.fpn_convs.{i}.conv", "decoder.fpn_convs.{i}"),
    *(
        (f"decode_head.scale_heads.{{i}}.{2 * j}.{part}", f"decoder.branch.levels.{{i}}.{j}.{part}")
        for j in range(_MOST_DOUBLINGS)
        for part in ("conv", "bn")
    ),
    ("decode_head.conv_seg", "head"),
)

# Beside the decode head: the auxiliary head of training, and the statistics that normalise images.
IGNORED = (r"auxiliary_head\.", r"data_preprocessor\.")
