"""What the commands that score have in common: flags, what is measured, and what is printed of it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densevit.quoting import printable

if TYPE_CHECKING:
    from densevit.evaluate.files import Measured
    from densevit.evaluate.requirements import Requirement
    from densevit.evaluate.scores import Scores
    from densevit.metrics import MeasureOptions


def add_scoring_options(parser: argparse.ArgumentParser, *, metrics: str) -> None:
    """What is measured, how means are made, and what they must be; `metrics` says what is measured by default."""
    parser.add_argument(
        "--metrics", nargs="*", metavar="NAME", help=f"beside Dice, IoU and the like: hd95_max, assd, ... ({metrics})"
    )
    parser.add_argument(
        "--tolerances", nargs="+", type=float, metavar="MM", help="of nsd_voxel and the like (default 2)"
    )
    parser.add_argument(
        "--policy", default="honest", help="honest (default), nnunet, monai, brats2023, chaos, cityscapes, mmseg"
    )
    parser.add_argument("--compare-by", default="dice", metavar="NAME", help="by which models and strata are compared")
    parser.add_argument(
        "--table", metavar="CSV", help="what is known of each case (column case): patient, scanner, ..."
    )
    parser.add_argument("--group", metavar="COLUMN", help="whose cases belong together: patients are resampled whole")
    parser.add_argument("--strata", nargs="+", default=[], metavar="COLUMN", help="scores for each value of a column")
    parser.add_argument("--require", nargs="+", default=[], metavar="SCORE", help="'liver.dice>=0.9' 'mIoU>=75'")
    parser.add_argument("--csv", metavar="FILE", help="write a line for each case and structure")
    parser.add_argument("--mmseg", action="store_true", help="print mmsegmentation's table as well")


def read_options(args: argparse.Namespace) -> "MeasureOptions":
    """Those of the policy, and what the flags say."""
    from dataclasses import replace

    from densevit.metrics import POLICIES
    from densevit.registry import check_known

    check_known(args.policy, POLICIES, what="no policy named")
    given: dict[str, Any] = {}
    if args.metrics is not None:
        given["metrics"] = tuple(args.metrics)
    if args.tolerances is not None:
        given["tolerances"] = tuple(args.tolerances)
    return replace(POLICIES[args.policy].options, **given)


def read_requirements(args: argparse.Namespace) -> "list[Requirement]":
    """ValueError for what is none."""
    from densevit.evaluate.requirements import Requirement

    return [Requirement.read(text) for text in args.require]


def print_scores(args: argparse.Namespace, measured: "Measured") -> "Scores":
    """The scores that the flags ask for, printed."""
    from densevit.evaluate.formats import as_mmseg
    from densevit.evaluate.scores import score

    how = dict(group=args.group, strata_of=args.strata, stratum_metric=args.compare_by.rpartition(".")[2])
    scores = score(measured, args.policy, **how)
    say(f"{scores.table()}\n")
    if args.mmseg:
        say(f"\n{as_mmseg(measured.records)}\n")
    return scores


def print_unmet(requirements: "Sequence[Requirement]", scores: "Scores") -> bool:
    """A line for each requirement that is not met; whether there is one."""
    from densevit.evaluate.requirements import unmet

    failures = unmet(requirements, scores.names(), percent=scores.percent())
    say("".join(f"{line}\n" for line in failures))
    return bool(failures)


def write_csv(args: argparse.Namespace, measured: "Measured") -> None:
    """Where --csv asks for it."""
    from densevit.evaluate.formats import as_csv
    from densevit.files import write_text

    if args.csv:
        write_text(Path(args.csv), as_csv(measured.records))


def say(text: str) -> None:
    """On standard output, whatever names of files and classes hold."""
    sys.stdout.write(printable(text, keep="\n"))
