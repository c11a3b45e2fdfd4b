"""Say what pictures or scans show: the likeliest classes of each, by a classifier that was trained here, or by CLIP.

Prints a table, one line an image; --csv keeps it with the probability of every class.
"""

import argparse
import csv
import io
import sys
from pathlib import Path

from densevit.cli.options import add_class_names, class_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `classify`."""
    parser.add_argument("checkpoint", help="the folder of a run, or its weights; with --classes a CLIP")
    parser.add_argument("inputs", nargs="+", help="image files, folders or quoted globs; or scans")
    add_class_names(parser)
    parser.add_argument("--csv", metavar="FILE", help="write image, class, and the probability of every class")
    parser.add_argument("--top", type=int, default=1, metavar="N", help="print the N likeliest classes; default 1")
    parser.add_argument("--recursive", action="store_true", help="go into the subfolders of input folders")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default a GPU where there is one")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Classify, print, write; 1 where an image could not be read."""
    from functools import partial

    from densevit.files import check_writable, write_text
    from densevit.predictor.classes import ClassPredictor, classify
    from densevit.processes import pick_device
    from densevit.progress import Bars
    from densevit.quoting import csv_cell, message, printable
    from densevit.tables import format_table

    if args.top < 1:
        raise ValueError(f"--top takes how many classes to print, got {args.top}")
    if args.csv:
        check_writable(Path(args.csv).parent)
    predictor = ClassPredictor(
        args.checkpoint, classes=class_names(args), templates=args.templates, device=pick_device(args.device)
    )
    with Bars(enabled=not args.quiet) as shown:
        found, failed = classify(
            predictor, args.inputs, recursive=args.recursive, on_image=partial(shown.show, "classify")
        )
    rows = []
    for path, prediction in found.items():
        best = prediction.ranked[: args.top]
        told = {"class": best[0][0], "probability": best[0][1]}
        for place, (name, share) in enumerate(best[1:], start=2):
            told |= {f"class {place}": name, f"probability {place}": share}
        rows.append({"image": str(path), **told})
    if rows:
        sys.stdout.write(f"{printable(format_table(rows), keep=chr(10))}\n")
    if args.csv:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["image", "class", *map(csv_cell, predictor.classes)])
        for path, prediction in found.items():
            cells = [csv_cell(str(path)), csv_cell(prediction.ranked[0][0])]
            table.writerow([*cells, *(f"{share:.6g}" for share in prediction.probabilities)])
        write_text(Path(args.csv), text.getvalue())
    for path, reason in failed.items():
        sys.stderr.write(f"densevit: skipped {message(path)}: {message(reason)}\n")
    return 1 if failed else 0
