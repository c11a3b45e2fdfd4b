"""Key maps of MONAI's decoders, rows for the `decoder` of a Source: those of UNETR and of Swin UNETR."""

from densevit.weights.maps.source import Row


def _block(theirs: str, ours: str) -> tuple[Row, ...]:
    """A residual block; the third convolution is there only where the widths differ."""
    return tuple((f"{theirs}.conv{n}.conv", f"{ours}.conv{n}") for n in (1, 2, 3))


def _step(theirs: str, ours: str) -> tuple[Row, ...]:
    return ((f"{theirs}.transp_conv.conv", f"{ours}.up"), *_block(f"{theirs}.conv_block", f"{ours}.merge"))


def _tower(theirs: str, ours: str) -> tuple[Row, ...]:
    return (
        (f"{theirs}.transp_conv_init.conv", f"{ours}.0"),
        (f"{theirs}.blocks.{{i}}.0.conv", f"{ours}.{{i+1}}.up"),
        *((f"{theirs}.blocks.{{i}}.1.conv{n}.conv", f"{ours}.{{i+1}}.merge.conv{n}") for n in (1, 2)),
    )


_HEAD: Row = ("out.conv.conv", "head")

# Both count their encoders and decoders from the image downwards, beginning with 1 or, for UNETR's decoders, 2.
UNETR_DECODER = (
    *_block("encoder1.layer", "decoder.skips.0"),
    *(row for n in (2, 3, 4) for row in _tower(f"encoder{n}", f"decoder.skips.{n - 1}")),
    *(row for n in (2, 3, 4, 5) for row in _step(f"decoder{n}", f"decoder.ups.{n - 2}")),
    _HEAD,
)
SWIN_UNETR_DECODER = (
    *(row for n in (1, 2, 3, 4) for row in _block(f"encoder{n}.layer", f"decoder.skips.{n - 1}")),
    *_block("encoder10.layer", "decoder.skips.5"),
    *(row for n in (1, 2, 3, 4, 5) for row in _step(f"decoder{n}", f"decoder.ups.{n - 1}")),
    _HEAD,
)
# Shortcuts that the towers had up to MONAI 0.7, and that nothing used.
UNETR_UNUSED = (r"encoder\d\.blocks\.\d\.1\.conv3\.",)
