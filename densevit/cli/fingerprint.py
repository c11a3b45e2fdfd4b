"""Read every case of a set of scans once, say what it is like, and propose a config that trains.

DATA is a Decathlon or nnU-Net folder (dataset.json), a MONAI datalist (.json), a folder with images/ and labels/, or
one with a folder a case. Where it is none of these, --images and --labels say which files are which.
Rules and their source: docs/fingerprint.md.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densevit.quoting import message, printable, shell

if TYPE_CHECKING:
    from densevit.doctor.fingerprint.measure import Fingerprint
    from densevit.doctor.fingerprint.propose import Proposal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `fingerprint`."""
    parser.add_argument("data", metavar="DATA", help="the set's folder, or the JSON file that lists its cases")
    parser.add_argument("-o", "--out", metavar="CONFIG", help="write the proposed config to this .py file")
    parser.add_argument("--json", metavar="FILE", help="write all that was measured, by case, to this file")
    parser.add_argument("--memory", default="8GB", help="what training may take, such as 8GB or 24GB (default 8GB)")
    parser.add_argument("--backbone", default="swin_unetr_tiny", help="default swin_unetr_tiny; `densevit models`")
    parser.add_argument("--decoder", default="unetr", help="default unetr")
    parser.add_argument("--images", nargs="+", metavar="GLOB", help="'scans/*.nii.gz', one pattern a channel")
    parser.add_argument("--labels", metavar="GLOB", help="'masks/*_seg.nii.gz'; * is the case's name, as in --images")
    parser.add_argument("--classes", nargs="+", metavar="NAME=VALUE", help="background=0 liver=1")
    parser.add_argument("--group", help="whose scan a case is: a regular expression on its name, a .csv or .json table")
    parser.add_argument(
        "--pairs", metavar="REGEX", help="scans 2k - 1 and 2k are one subject's; the regular expression has the number"
    )
    parser.add_argument("--val-every", type=int, metavar="N", help="every n-th subject is for validation")
    parser.add_argument("--fold", type=int, metavar="K", help="which of the set's folds, or of those of --val-every")
    parser.add_argument("--geometry", choices=("sform", "qform"), help="which one holds where NIfTI files disagree")
    parser.add_argument("--max-iters", type=int, metavar="N", help="iterations of the config; default by cases")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="cases that are read at once (default 4)")
    parser.add_argument("--force", action="store_true", help="replace a config that is there already")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Measure, print, write; 1 where cases could not be read."""
    from densevit.doctor.fingerprint.measure import take_fingerprint
    from densevit.doctor.fingerprint.propose import propose
    from densevit.progress import Bars
    from densevit.texts import parse_bytes

    max_bytes = parse_bytes(args.memory)
    _check_outputs(args)
    config = describe(args)
    with Bars(enabled=not args.quiet) as bars:
        found = take_fingerprint(config, workers=max(1, args.workers), progress=partial(bars.show, "read"))
    proposal = propose(found, max_bytes=max_bytes, backbone=args.backbone, decoder=args.decoder)
    sys.stdout.write(printable(report(found, proposal), keep="\n"))
    _write(args, found, proposal, max_bytes)
    return 1 if found.failed else 0


def describe(args: argparse.Namespace) -> dict[str, Any]:
    """The set's config, from its folder and what the flags say about it."""
    from densevit.data.layouts.guess_volumes import choose_split, describe_folder, guess_volume_dataset
    from densevit.data.layouts.pairing import check_root

    if (args.images is None) != (args.labels is None):
        raise ValueError("--images and --labels belong together: give a pattern for both")
    if args.group is not None and args.pairs is not None:
        raise ValueError("--group and --pairs both say whose scan a case is; give one of them")
    classes = _parse_classes(args.classes)
    read = {} if args.geometry is None else dict(geometry=args.geometry)
    if args.images is not None:
        config = describe_folder(check_root(args.data), args.images, args.labels, classes=classes, read=read)
    else:
        config = guess_volume_dataset(args.data, classes=classes, read=read)
    group = dict(pattern=args.pairs, every=2) if args.pairs is not None else args.group
    said = dict(group=group, val_every=args.val_every, fold=args.fold, read=read or None)
    return choose_split(config | {key: value for key, value in said.items() if value is not None})


def report(found: "Fingerprint", proposal: "Proposal") -> str:
    """Tables and remarks."""
    from densevit.doctor.fingerprint.report import channel_rows, class_rows, grid_rows, remarks
    from densevit.tables import format_table
    from densevit.texts import format_bytes

    val = len(found.cases) - len(found.trained)
    crop, size = (" x ".join(map(str, sizes)) for sizes in (proposal.crop_size, proposal.size))
    spacing = " x ".join(f"{mm:g}" for mm in proposal.spacing)
    numbers = ", ".join(f"{key} {value}" for key, value in proposal.normalization.items() if key != "type")
    lines = [
        f"{found.dataset['root']} ({found.dataset['type']}): {len(found.trained)} cases to train on, {val} to validate "
        f"on{f', {len(found.failed)} that cannot be read' if found.failed else ''}",
        *("", "grids", format_table(grid_rows(found))),
        *("", "intensities (0.5 %, median, 99.5 %)", format_table(channel_rows(found))),
        *("", "classes", format_table(class_rows(found))),
        *("", "proposed"),
        f"  {proposal.model['backbone']} + {proposal.model['decoder']}, {proposal.batch_size} crops of {crop} voxels: "
        f"about {format_bytes(proposal.bytes)}",
        f"  voxels of {spacing} mm, at which the median case has {size}",
        f"  normalised by {proposal.normalization['type']} ({numbers})",
    ]
    said = remarks(found, proposal)
    lines += ["", "to look at", *(f"  {remark}" for remark in said)] if said else []
    return "\n".join(lines) + "\n"


def _write(args: argparse.Namespace, found: "Fingerprint", proposal: "Proposal", max_bytes: int) -> None:
    from densevit.doctor.fingerprint.config_file import config_text
    from densevit.doctor.fingerprint.report import fingerprint_json
    from densevit.files import write_text

    if args.json:
        write_text(Path(args.json), json.dumps(fingerprint_json(found, proposal), indent=1) + "\n")
    if args.out:
        more = dict(max_iters=args.max_iters, imports=args.custom_imports)
        text = config_text(found, proposal, command=_command(args), max_memory=max_bytes, **more)
        write_text(Path(args.out), text)
        sys.stdout.write(f"\nwritten: {message(args.out)}; train with `densevit train {shell(args.out)}`\n")


def _command(args: argparse.Namespace) -> str:
    """What would make this file again, as far as it decides about numbers."""
    words = ["densevit", "fingerprint", args.data, "--memory", args.memory]
    chosen = ("backbone", "decoder", "images", "labels", "classes", "group", "pairs", "val_every", "fold", "geometry")
    for flag in (*chosen, "max_iters"):
        value = getattr(args, flag)
        if value is not None and value != dict(backbone="swin_unetr_tiny", decoder="unetr").get(flag):
            words += [f"--{flag.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    return shell(*words)


def _check_outputs(args: argparse.Namespace) -> None:
    """Before hours of reading."""
    if args.out is not None and Path(args.out).suffix != ".py":
        raise ValueError(f"a config is a Python file, and {args.out} does not end in .py")
    if args.out is not None and Path(args.out).exists() and not args.force:
        raise ValueError(f"{args.out} is there already; give another name, or --force to replace it")
    if args.max_iters is not None and args.max_iters < 1:
        raise ValueError(f"--max-iters must be at least 1, got {args.max_iters}")


def _parse_classes(words: list[str] | None) -> dict[str, int] | None:
    if words is None:
        return None
    classes = {}
    for word in words:
        name, _, value = word.rpartition("=")
        if not name or not value.isdecimal():
            raise ValueError(f"--classes takes NAME=VALUE such as liver=1, got {word!r}")
        classes[name] = int(value)
    return classes
