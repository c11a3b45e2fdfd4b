"""Show training runs on a page: curves, scores of classes, predictions, differences of their configurations.

RUN is a folder that `densevit train` wrote, of pictures or of scans; several are compared. The page is one file of HTML
that opens without a network. What it holds, and from where: docs/report.md.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from densevit.quoting import printable

if TYPE_CHECKING:
    from densevit.report.board import Triple
    from densevit.runs.run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `report`."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a run, such as work_dirs/NAME")
    parser.add_argument("--html", default="report.html", metavar="FILE", help="the page; default report.html here")
    parser.add_argument("--json", metavar="FILE", help="write facts, scalars, configs and their differences")
    parser.add_argument(
        "--predict",
        type=int,
        default=0,
        metavar="N",
        help="show N validation images as each run's best weights predict them, in place of those drawn in training; "
        "this runs the config.py of each RUN",
    )
    parser.add_argument("--device", help="of --predict: cpu, cuda, cuda:1; default a GPU where there is one")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Read, print the table, write the page; 1 where --predict found no weights or no data."""
    from densevit.files import check_writable, write_text
    from densevit.report.pages.runs import runs_page
    from densevit.runs.compared import as_json, compare_validation
    from densevit.runs.run import open_runs

    if args.predict < 0:
        raise ValueError(f"--predict takes how many images to show, got {args.predict}")
    runs = open_runs(args.runs)
    for path in filter(None, (args.html, args.json)):
        check_writable(Path(path).parent)
    predicted = _predict(runs, args) if args.predict else {}
    sys.stdout.write(f"{table(runs)}\n")
    compared = compare_validation(runs)
    if compared.said:
        sys.stdout.write("".join(["\n", *(f"{printable(line)}\n" for line in (compared.said, *compared.reasons))]))
    if args.json:
        write_text(Path(args.json), json.dumps(as_json(runs), indent=1) + "\n")
    title = f"Training run {runs[0].name}" if len(runs) == 1 else f"{len(runs)} training runs"
    runs_page(args.html, runs, title=title, predicted=predicted)
    sys.stdout.write(f"\npage: {printable(args.html)}\n")
    return 1 if args.predict and len(predicted) < len(runs) else 0


def table(runs: Sequence["Run"]) -> str:
    """A column for each run, since what is known of one has many names; the last line says what no run recorded."""
    from densevit.report.pages.runs import cell
    from densevit.runs.compared import headline
    from densevit.tables import format_table

    rows, unknown = headline(runs)
    keys = [key for key in rows[0] if key != "run"]
    lines = [{"run": key} | {row["run"]: cell(key, row[key]) for row in rows} for key in keys]
    return format_table(lines) + (f"\n  not recorded: {', '.join(unknown)}" if unknown else "")


def _predict(runs: Sequence["Run"], args: argparse.Namespace) -> dict[str, Mapping[str, "Triple"]]:
    """Pictures by run and image; a run whose weights or data are not there is named, and shown without."""
    from densevit.runs.folder import CONFIG
    from densevit.train.config import load_config
    from densevit.train.score import show_predictions

    found: dict[str, Mapping[str, Triple]] = {}
    for run in runs:
        try:
            config = load_config(run.folder / CONFIG)
            shown = dict(count=args.predict, device=args.device, progress=not args.quiet)
            found[run.name] = show_predictions(config, run.folder, **shown)
        except (ValueError, OSError) as error:
            sys.stderr.write(f"{printable(f'{run.name} cannot predict: {error}')}\n")
    return found
