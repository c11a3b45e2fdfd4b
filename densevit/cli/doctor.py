"""Look at every file of a set as a training would read it, and say what is wrong or odd, and how to mend it.

DATA is the folder of a set of pictures or of scans (a Cityscapes layout, images/ and labels/, a Decathlon or nnU-Net
folder, ...), or the JSON file that lists its cases; CONFIG is a config to train with. What each check looks for, and
from when on it speaks: docs/doctor.md.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densevit.quoting import printable

if TYPE_CHECKING:
    from densevit.doctor.examine import Examination, Examined

CONFIGS = (".py", ".yaml", ".yml")
SPLITS = ("train", "val", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `doctor`."""
    parser.add_argument("data", metavar="DATA|CONFIG", help="the set's folder or list of cases, or a config's file")
    parser.add_argument(
        "--split", nargs="+", choices=SPLITS, metavar="SPLIT", help="train, val, test; default those it is trained with"
    )
    parser.add_argument("--json", metavar="FILE", help="write all findings with all files, and the classes")
    parser.add_argument("--html", metavar="FILE", help="write one page with pictures of the files concerned")
    parser.add_argument(
        "--augmented",
        metavar="DIR",
        help="check nothing, and draw samples into this folder as the training of CONFIG sees them, augmented",
    )
    parser.add_argument("--count", type=int, default=16, metavar="N", help="of those pictures (default 16)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read files; default one a core")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Open, look, print, write; 1 where there are errors."""
    import os

    from densevit.doctor.examine import examine
    from densevit.progress import Bars

    if args.augmented is not None:
        return _browse(args)
    configs = _configs(args.data, args.split)
    workers = (os.cpu_count() or 1) if args.workers is None else args.workers
    with Bars(enabled=not args.quiet) as bars:
        found = examine(configs, num_workers=0 if workers < 2 else workers, progress=bars.show)
    sys.stdout.write(report(found))
    _write(args, found)
    return 1 if found.count("error") else 0


def _browse(args: argparse.Namespace) -> int:
    """Draw the first samples of a training."""
    from densevit.files import check_writable
    from densevit.progress import Bars
    from densevit.report.samples import save_sample
    from densevit.train.config import load_config
    from densevit.train.data import open_stream

    if Path(args.data).suffix.lower() not in CONFIGS:
        raise ValueError(f"--augmented needs a config, which says how samples are augmented, and got {args.data}")
    if args.count < 1:
        raise ValueError(f"--count must be at least 1, got {args.count}")
    folder = Path(args.augmented)
    check_writable(folder, what="folder of --augmented")
    stream = open_stream(load_config(args.data))
    with Bars(enabled=not args.quiet) as bars:
        for draw in range(args.count):
            sample = stream[draw]
            name = Path(str(sample.meta["image"])).name.partition(".")[0]
            save_sample(folder / f"{draw:04}_{name}.png", stream.dataset, sample)
            bars.show("draw", draw + 1, args.count)
    sys.stdout.write(f"{args.count} samples as the network sees them: {printable(folder)}\n")
    return 0


def report(found: "Examination") -> str:
    """The classes of each split, then the findings, the worst first."""
    from densevit.tables import format_table

    lines = []
    for name, split in found.splits.items():
        lines += [describe(name, split), ""]
        lines += [format_table(class_rows(split)), ""] if split.classes else []
    lines += [printable(f"{each.severity}: {_where(each.split)}{each.text}") for each in found.findings]
    lines += [""] if found.findings else []
    counts = [f"{found.count(kind)} {kind}{'s' * (found.count(kind) != 1)}" for kind in ("error", "warning", "note")]
    return "\n".join([*lines, ", ".join(counts)]) + "\n"


def describe(name: str, split: "Examined") -> str:
    """One line on a split."""
    number, broken = len(split.dataset), len(split.dataset) - split.readable
    of_clips = getattr(split.dataset, "clips", None) is not None
    kind = "scans" if split.dataset.has_cases else "videos" if of_clips else "pictures"
    return f"{name}: {number} {kind} of {split.dataset.num_classes} classes" + (
        f", {broken} of which cannot be used" if broken else ""
    )


def class_rows(split: "Examined") -> list[dict[str, Any]]:
    """Of each class the share, how many labels hold it, and the weight that is suggested for the loss."""
    return [
        {"class": each.name, "share, %": f"{100 * each.share:.3g}", "labels": each.labels, "weight": f"{each.weight:g}"}
        for each in split.classes
    ]


def _where(split: str) -> str:
    return f"{split}: " if split else ""


def _configs(data: str, splits: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """The config of each split that is to be looked at."""
    if Path(data).suffix.lower() not in CONFIGS:
        from densevit.doctor.guess import guess_splits

        return guess_splits(data, splits=splits)
    from densevit.train.config import load_config

    config = load_config(data)
    sections = dict(train=config.train_data, val=config.val_data, test=config.test_data)
    there = {split: section.dataset for split, section in sections.items() if section is not None}
    missing = next((split for split in splits or () if split not in there), None)
    if missing is not None:
        raise ValueError(f"--split {missing}: {data} has no {missing}_data; it has {', '.join(there)}")
    return {split: there[split] for split in splits or there}


def _write(args: argparse.Namespace, found: "Examination") -> None:
    from densevit.files import write_text

    if args.json:
        write_text(Path(args.json), json.dumps(as_json(found), indent=1) + "\n")
    if args.html:
        from densevit.report.pages.findings import findings_page

        datasets = {name: split.dataset for name, split in found.splits.items()}
        splits = [(describe(name, split), class_rows(split)) for name, split in found.splits.items()]
        findings_page(args.html, found.findings, datasets, title=f"densevit doctor {args.data}", splits=splits)


def as_json(found: "Examination") -> dict[str, Any]:
    """All that was found, ready for JSON."""
    from dataclasses import asdict

    return dict(
        version=1,
        splits={
            name: dict(
                samples=len(split.dataset), readable=split.readable, classes=[asdict(each) for each in split.classes]
            )
            for name, split in found.splits.items()
        },
        findings=[asdict(finding) | dict(count=len(finding.files)) for finding in found.findings],
    )
