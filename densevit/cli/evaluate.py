"""Score label files against others: folders of pictures or of scans, by case and over all pixels, with intervals.

PRED and TRUTH are two folders whose files are called alike, or two files. A missing prediction counts as one in which
nothing was found. What the values mean is read from a dataset.json, classes.json or classes.txt in TRUTH or above it.
Every metric, and what each policy does with empty masks: docs/metrics.md.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densevit.cli.scoring import (
    add_scoring_options,
    print_scores,
    print_unmet,
    read_options,
    read_requirements,
    say,
    write_csv,
)

if TYPE_CHECKING:
    from densevit.evaluate.compared import Compared
    from densevit.evaluate.files import Measured
    from densevit.evaluate.pairs import Pairs
    from densevit.evaluate.scores import Scores
    from densevit.metrics import MeasureOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `evaluate`."""
    parser.add_argument("prediction", nargs="?", metavar="PRED", help="a folder of predicted label maps, or one file")
    parser.add_argument("truth", nargs="?", metavar="TRUTH", help="the folder of the true ones, or one file")
    parser.add_argument("--manifest", metavar="CSV", help="pairs with the columns prediction, truth and perhaps case")
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help="names of the values: a .json or .txt, or cityscapes, cityscapes_categories, cityscapes_train_ids",
    )
    add_scoring_options(parser, metrics="default hd95_max, assd, nsd_voxel")
    parser.add_argument(
        "--missing", choices=("missed", "skip"), default="missed", help="what a case without a prediction counts as"
    )
    parser.add_argument("--with-background", action="store_true", help="of scans, score value 0 as a structure too")
    parser.add_argument(
        "--against", action="append", default=[], metavar="PRED", help="another model's, to compare with"
    )
    parser.add_argument("--json", metavar="FILE", help="write all that was measured")
    parser.add_argument("--nnunet", metavar="FILE", help="write nnU-Net's summary.json")
    parser.add_argument(
        "--report", metavar="FILE", help="write a page of HTML that shows all of it, and the worst cases"
    )
    parser.add_argument(
        "--probabilities",
        metavar="DIR",
        help="of the classes, called as predictions are, for calibration: .npz, .npy, or scans with a fourth axis",
    )
    parser.add_argument("--images", metavar="DIR", help="of --report, the cases' images, called as predictions are")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that compare cases; default one a core")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Pair, measure, print, write; 1 where a file could not be used or a requirement is not met."""
    if args.images and not args.report:
        raise ValueError("--images is shown on the page of --report; give --report FILE as well")
    models = {Path(path).resolve() for path in (args.prediction or "", *args.against)}
    if args.against and (args.manifest or len(models) <= len(args.against)):
        raise ValueError("--against names other predictions than PRED, each once; give PRED and TRUTH, not --manifest")
    requirements, options = read_requirements(args), read_options(args)
    pairs = _pairs(args, args.prediction)
    others_pairs = {path: _pairs(args, path) for path in args.against}
    images = _images(args, pairs)
    measured = _measure(args, pairs, options, probabilities=args.probabilities)
    scores = print_scores(args, measured)
    others = {path: _measure(args, theirs, options) for path, theirs in others_pairs.items()}
    compared = _compare(args, {str(args.prediction): measured, **others}) if others else None
    _say(measured, skipped=args.missing == "skip")
    for path, other in others.items():
        _say(other, skipped=args.missing == "skip", model=f"{path}: ")
    _write(args, pairs, measured, scores, options, compared, others)
    if args.report:
        _report(args, pairs, measured, scores, compared, images)
    failed = print_unmet(requirements, scores)
    failed |= any(each.failed or each.unscored or each.uncalibrated for each in (measured, *others.values()))
    return 1 if failed else 0


def _pairs(args: argparse.Namespace, prediction: str | None) -> "Pairs":
    from dataclasses import replace

    from densevit.evaluate.pairs import find_pairs, read_columns, read_manifest

    if (args.manifest is None) == (args.truth is None):
        raise ValueError("give PRED and TRUTH, or --manifest with the pairs, and not both")
    if args.manifest is not None:
        pairs = read_manifest(args.manifest)
    else:
        pairs = find_pairs(prediction, args.truth, train_ids=args.classes == "cityscapes_train_ids")
    if args.table is None:
        return pairs
    said = read_columns(args.table, [pair.case for pair in pairs.pairs])
    return replace(pairs, columns={case: {**pairs.columns.get(case, {}), **said[case]} for case in said})


def _measure(
    args: argparse.Namespace, pairs: "Pairs", options: "MeasureOptions", *, probabilities: str | None = None
) -> "Measured":
    import os

    from densevit.evaluate.besides import find_probabilities
    from densevit.evaluate.files import measure_files
    from densevit.evaluate.structures import find_structures

    structures = find_structures(args.classes, Path(args.truth or args.manifest))
    cases = [pair.case for pair in pairs.pairs]
    found = None if probabilities is None else find_probabilities(probabilities, cases)
    workers = min(os.cpu_count() or 1, len(pairs.pairs)) if args.workers is None else args.workers
    return measure_files(
        pairs,
        structures,
        options,
        missing=args.missing,
        with_background=True if args.with_background else None,
        with_confusion=bool(args.report or args.json),
        probabilities=found,
        num_workers=0 if workers < 2 else workers,
        progress=not args.quiet,
    )


def _compare(args: argparse.Namespace, models: "Mapping[str, Measured]") -> "Compared":
    """Print how the models' predictions differ, by the same cases."""
    from densevit.evaluate.compared import compare_measured

    found = compare_measured(models, metric=args.compare_by, policy=args.policy, group=args.group)
    say(f"\n{found.table()}\n")
    return found


def _say(measured: "Measured", *, skipped: bool, model: str = "") -> None:
    """What is not as it should be, one line a kind."""
    lines = []
    if measured.missing:
        fate = "left out, as --missing skip says" if skipped else "counted as missed"
        lines.append(f"{len(measured.missing)} predictions are missing and {fate}: {_some(measured.missing)}")
    if measured.unmatched:
        lines.append(f"{len(measured.unmatched)} predictions have no label: {_some(measured.unmatched)}")
    if measured.failed:
        lines.append(f"{len(measured.failed)} predictions could not be used and counted as missed, see above")
    if measured.unscored:
        lines.append(f"{len(measured.unscored)} labels could not be read, and their cases are not scored, see above")
    if measured.uncalibrated:
        lines.append(f"{len(measured.uncalibrated)} cases are in no calibration, see above")
    say("".join(f"\n{model}{line}\n" for line in lines))


def _some(things: list[Any]) -> str:
    return ", ".join(map(str, things[:5])) + ", ..." * (len(things) > 5)


def _write(
    args: argparse.Namespace,
    pairs: "Pairs",
    measured: "Measured",
    scores: "Scores",
    options: "MeasureOptions",
    compared: "Compared | None",
    others: "Mapping[str, Measured]",
) -> None:
    from densevit.evaluate.formats import as_json, as_nnunet
    from densevit.files import write_text

    if args.json:
        found = {} if compared is None else dict(comparisons=compared.comparisons, ranking=compared.ranking)
        content = as_json(measured, scores, options, **found, others=others)
        write_text(Path(args.json), json.dumps(content, indent=1) + "\n")
    write_csv(args, measured)
    if args.nnunet:
        write_text(Path(args.nnunet), json.dumps(as_nnunet(measured, pairs.pairs), indent=4) + "\n")


def _images(args: argparse.Namespace, pairs: "Pairs") -> Mapping[str, Path]:
    from densevit.evaluate.pairs import find_images

    return find_images(args.images, [pair.case for pair in pairs.pairs]) if args.images else {}


def _report(
    args: argparse.Namespace,
    pairs: "Pairs",
    measured: "Measured",
    scores: "Scores",
    compared: "Compared | None",
    images: Mapping[str, Path],
) -> None:
    from densevit.report.pages import evaluation_page

    title = args.manifest or f"{args.prediction} against {args.truth}"
    shown = dict(title=title, compared=compared, images=images, progress=not args.quiet)
    evaluation_page(args.report, measured, scores, pairs, **shown)
