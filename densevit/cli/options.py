"""Flags that several commands share."""

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any

AXES = ("depth", "height", "width")
# Options of the library as its errors name them, and where a config holds them; no place is said of keys that stand in
# several sections, or in none.
READ = ("geometry", "series", "modality", "allow_gantry_tilt", "stored_values", "on_missing", "max_bytes")
SEEN = ("roi_size", "stride", "flips", "scales")
ALONE = ("max_memory", "largest_component", "fill_holes", "dicom_seg")
OTHERS = (*ALONE, "batch_size", "amp", "val_every", "fold", "group")
PLACE_OF = dict.fromkeys(READ, "dataset.read.") | dict.fromkeys(SEEN, "inference.") | dict.fromkeys(OTHERS, "")
VALUE = r"'[^']*'|\([^)]*\)|\[[^\]]*\]|[\w.*-]*\w"
# With a value, or by a name that is no word of English.
NAMED = re.compile(
    rf"(?<![\w./'\"-])(?:({'|'.join(PLACE_OF)})=({VALUE})"
    rf"|({'|'.join(name for name in PLACE_OF if '_' in name)}|flips)(?![\w=./]))"
)


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
        choices=("whole", "slide", "slide_gaussian", "slide_nnunet", "slide_monai", "slide_monai_gaussian"),
        help="the image at once, or in windows: averaged, with more weight in their middle, or as nnU-Net and MONAI do",
    )
    parser.add_argument(
        "--roi-size", type=int, nargs="+", metavar="N", help="window size, one number or one for each axis"
    )
    parser.add_argument("--stride", type=int, nargs="+", metavar="N", help="step between windows")
    parser.add_argument("--batch-size", type=int, metavar="N", help="windows predicted together")


def add_class_names(parser: argparse.ArgumentParser, *, of_pixels: bool = False) -> None:
    """Classes by their names, for a CLIP; `of_pixels` with what MaskCLIP does to label maps."""
    parser.add_argument(
        "--classes",
        metavar="NAMES",
        help="with a CLIP (of a run, OpenAI, open_clip or transformers): 'road,car,person', or a file of them as data "
        "sets have it (classes.txt or .json)",
    )
    parser.add_argument(
        "--templates",
        nargs="+",
        metavar="TEXT",
        help="with --classes: what is said of them, {} being the name; of several texts the mean; by default those of "
        "training, or 'a photo of a {}.'",
    )
    if not of_pixels:
        return
    share = dict(type=float, nargs="?", metavar="P")
    parser.add_argument(
        "--prompt-denoising",
        const=0.5,
        **share,
        help="with --classes: leave out classes that have this probability in no cell of an image or window (0.5)",
    )
    parser.add_argument(
        "--key-smoothing",
        const=1.0,
        **share,
        help="with --classes: cells whose likeliest class has at most this probability get the mean of cells like them "
        "(1: all)",
    )


def class_names(args: argparse.Namespace) -> tuple[str, ...] | None:
    """What --classes names; None without it."""
    from pathlib import Path

    from densevit.data.layouts.classes import read_classes

    if args.classes is None:
        if args.templates is not None:
            raise ValueError("--templates are said of --classes; name these too")
        return None
    if args.classes.lower().endswith((".txt", ".json")) and Path(args.classes).is_file():
        return tuple(read_classes(args.classes).classes)
    return tuple(name.strip() for name in args.classes.split(","))


def refinements(args: argparse.Namespace) -> dict[str, float]:
    """Those that were chosen, as keywords."""
    chosen = dict(prompt_denoising=args.prompt_denoising, key_smoothing=args.key_smoothing)
    chosen = {name: share for name, share in chosen.items() if share is not None}
    if chosen and args.classes is None:
        raise ValueError(f"--{next(iter(chosen)).replace('_', '-')} is of --classes; name these too")
    return chosen


def per_axis(values: Sequence[int] | None, *, spatial_dims: int = 2) -> tuple[int, ...] | None:
    """One number for all axes, or one for each."""
    if values is None:
        return None
    if len(values) not in (1, spatial_dims):
        *others, last = AXES[-spatial_dims:]
        each = f"{', '.join(others)} and {last}"
        raise ValueError(f"expected one number or {each}, got {len(values)}: {' '.join(map(str, values))}")
    return tuple(values) if len(values) == spatial_dims else tuple(values) * spatial_dims


def in_words(text: str, typed: Mapping[str, Any]) -> str:
    """An error of the library in the words of a command, whose arguments are `typed`.

    geometry='sform' becomes --geometry sform where there is such a flag, else a config's dataset.read.geometry='sform'.
    """

    def word(match: re.Match[str]) -> str:
        name, value = match[1] or match[3], match[2]
        flag = "flip" if name == "flips" else name
        if name in ("flips", "scales") and typed.get("tta"):
            return "--tta"
        if flag not in typed:
            return f"{PLACE_OF[name]}{match[0]}"
        said = "" if value in (None, "True") else re.sub(r"[()\[\]',]", "", value)
        return f"--{flag.replace('_', '-')} {said}".rstrip()

    return NAMED.sub(word, text)
