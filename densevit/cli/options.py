"""Flags that several commands share."""

import argparse
import re
from collections.abc import Sequence

AXES = ("depth", "height", "width")
# Options of `Predictor` and `ReadOptions` that have a flag of `densevit predict`, as errors name them.
OF_PYTHON = (
    "geometry", "series", "modality", "allow_gantry_tilt", "stored_values", "on_missing", "max_bytes", "roi_size",
    "stride", "batch_size", "max_memory", "flips", "scales", "largest_component", "fill_holes", "dicom_seg",
)  # fmt: skip
GIVEN = re.compile(rf"(?<![\w./'\"-])({'|'.join(OF_PYTHON)})=('[^']*'|\([^)]*\)|\[[^\]]*\]|[\w.*-]*\w)")
NAMED = re.compile(rf"(?<![\w./'\"-])({'|'.join(name for name in OF_PYTHON if '_' in name)}|flips)(?![\w=./])")


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Overrides and launchers, named as OpenMMLab's users know them."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="override the config: train_cfg.max_iters=4 model.backbone=mit_b0 inference.roi_size=[512,512]",
    )
    add_launcher(parser)
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default a GPU where there is one")


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Who starts the processes that share the work."""
    parser.add_argument(
        "--launcher", choices=("none", "pytorch", "slurm", "mpi"), default="none", help="who starts the processes"
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def add_inference_options(parser: argparse.ArgumentParser) -> None:
    """Whole or slide, windows, flips and scales."""
    parser.add_argument(
        "--mode",
        choices=("whole", "slide", "slide_gaussian"),
        help="the image at once, or in windows that are averaged, or whose middle counts more",
    )
    parser.add_argument(
        "--roi-size", type=int, nargs="+", metavar="N", help="window size, one number or one for each axis"
    )
    parser.add_argument("--stride", type=int, nargs="+", metavar="N", help="step between windows")
    parser.add_argument("--batch-size", type=int, metavar="N", help="windows predicted together")


def per_axis(values: Sequence[int] | None, *, spatial_dims: int = 2) -> tuple[int, ...] | None:
    """One number for all axes, or one for each."""
    if values is None:
        return None
    if len(values) not in (1, spatial_dims):
        *others, last = AXES[-spatial_dims:]
        each = f"{', '.join(others)} and {last}"
        raise ValueError(f"expected one number or {each}, got {len(values)}: {' '.join(map(str, values))}")
    return tuple(values) if len(values) == spatial_dims else tuple(values) * spatial_dims


def in_flags(text: str) -> str:
    """An error of the library in the words of `densevit predict`: geometry='sform' becomes --geometry sform."""
    text = GIVEN.sub(lambda match: f"{_flag(match[1])} {_typed(match[2])}".rstrip(), text)
    return NAMED.sub(lambda match: _flag(match[1]), text)


def _flag(name: str) -> str:
    return "--flip" if name == "flips" else f"--{name.replace('_', '-')}"


def _typed(value: str) -> str:
    return "" if value == "True" else re.sub(r"[()\[\]',]", "", value)
