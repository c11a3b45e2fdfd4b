"""Score a checkpoint on the test images of a config (val_data where it has no test_data).

Prints what `densevit evaluate` prints of label files: scores by case with intervals, and over all pixels in percent;
--json keeps them, --out and --show-dir the predictions.
Images without labels cannot be scored: `densevit predict --format label_ids` writes what the Cityscapes server takes.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densevit.cli.options import add_config_options, add_inference_options, per_axis
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
    from densevit.train.score import TestResult
    from densevit.train.tasks.classify_options import ClassifyConfig
    from densevit.train.tasks.clip_options import ClipConfig

OF_LABEL_MAPS = ("out", "format", "show_dir", "tta", "mode", "roi_size", "stride", "batch_size", "metrics", "csv")
TTA_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `test`, as OpenMMLab's users know them."""
    parser.add_argument("config", help="a Python file such as configs/segformer_b2_cityscapes.py")
    parser.add_argument("checkpoint", help="weights.safetensors, a folder that holds it, or another release's weights")
    parser.add_argument("--work-dir", metavar="DIR", help="folder that gets the scores as test_scores.json")
    parser.add_argument("--json", metavar="FILE", help="write the scores to this file")
    parser.add_argument("--out", metavar="DIR", help="write every prediction as PNG")
    parser.add_argument(
        "--format",
        choices=("train_ids", "label_ids", "palette"),
        help="what --out writes: label_ids (the values of the label files, of Cityscapes for its server; the default "
        "where they are others than the class numbers), train_ids (class numbers), palette",
    )
    parser.add_argument("--show-dir", metavar="DIR", help="write every prediction blended over its picture")
    add_scoring_options(parser, metrics="those of --policy, of honest none")
    parser.add_argument("--tta", action="store_true", help="average over 6 sizes and their mirror images")
    add_inference_options(parser)
    add_config_options(parser)


def run(args: argparse.Namespace) -> int:
    """Check the config, predict and score every image; the first process prints."""
    from densevit.data import create_dataset
    from densevit.files import check_writable
    from densevit.predictor.picture_outputs import PredictionWriter
    from densevit.processes import launched_as
    from densevit.train.config import load_config, parse_overrides
    from densevit.train.score import score_checkpoint

    config = load_config(args.config, parse_overrides(args.cfg_options))
    if config.task in ("classify", "clip"):
        return _of_whole_images(args, config)
    if not hasattr(config, "inference"):
        raise ValueError(
            f"{args.config} trains the task {config.task!r}, which predicts nothing that could be scored; score its "
            "frozen features by densevit probe, with a config of segmentation or classification"
        )
    spatial_dims = config.model.spatial_dims
    inference = config.inference.override(
        mode=args.mode,
        roi_size=per_axis(args.roi_size, spatial_dims=spatial_dims),
        stride=per_axis(args.stride, spatial_dims=spatial_dims),
        batch_size=args.batch_size,
        flips=(-1,) if args.tta else None,
        scales=TTA_SCALES if args.tta else None,
    ).on_axes(spatial_dims)
    results = [Path(args.work_dir) / "test_scores.json"] if args.work_dir else []
    results += [Path(args.json)] if args.json else []
    for path in (*results, *([Path(args.csv)] if args.csv else [])):
        check_writable(path.parent)
    if args.metrics is None and args.policy == "honest":  # distances in pictures take longer than predicting them
        args.metrics = []
    read_requirements(args)
    measured = read_options(args)
    folders = {name: folder for name, folder in ((args.format, args.out), ("overlay", args.show_dir)) if folder}
    dataset = create_dataset((config.test_data or config.val_data).dataset) if folders else None
    writer = PredictionWriter(dataset, folders) if folders else None
    options = dict(launcher=args.launcher, device=args.device, on_prediction=writer)
    result = score_checkpoint(config, args.checkpoint, inference=inference, options=measured, **options)
    if launched_as(args.launcher)[0] != 0:
        return 0
    about = dict(
        config=args.config,
        checkpoint=args.checkpoint,
        **_about_weights(args.checkpoint),
        num_images=result.num_images,
        inference=vars(inference),
        **result.scores.as_dict(result.classes),
    )
    about |= dict(temporal={path: vars(steady) for path, steady in result.temporal.items()}) if result.temporal else {}
    return _conclude(args, result, about, results)


def _about_weights(checkpoint: str) -> dict[str, Any]:
    """What the scores are of: the checksum of the file, and the weights that its training began with, if it says so."""
    from densevit.checkpoint import find_weights
    from densevit.files import sha256
    from densevit.weights import read_config

    path = find_weights(checkpoint)
    begun = (read_config(path) or {}).get("started_from")
    return dict(checkpoint_sha256=sha256(path)) | ({} if begun is None else dict(started_from=begun))


def _of_whole_images(args: argparse.Namespace, config: "ClassifyConfig | ClipConfig") -> int:
    """Score a classifier or a CLIP: a table, and with --json or --work-dir what it says of each class."""
    from densevit.files import check_writable, write_text
    from densevit.processes import launched_as

    given = [name for name in OF_LABEL_MAPS if getattr(args, name)]
    if given:
        what = "a classifier" if config.task == "classify" else "a CLIP"
        raise ValueError(f"--{given[0].replace('_', '-')} is of label maps, and this config trains {what}")
    results = [Path(args.work_dir) / "test_scores.json"] if args.work_dir else []
    results += [Path(args.json)] if args.json else []
    for path in results:
        check_writable(path.parent)
    options = dict(launcher=args.launcher, device=args.device)
    if config.task == "classify":
        from densevit.train.tasks.classify import score_class_checkpoint

        scores, classes = score_class_checkpoint(config, args.checkpoint, **options)
        found = scores.as_dict(classes)
    else:
        from densevit.train.tasks.clip import score_clip_checkpoint

        scores = score_clip_checkpoint(config, args.checkpoint, **options)
        found = scores.as_dict()
    if launched_as(args.launcher)[0] != 0:
        return 0
    say(f"{scores.text()}\n")
    about = dict(config=args.config, checkpoint=args.checkpoint)
    about |= dict(**_about_weights(args.checkpoint), **found)
    for path in results:
        write_text(path, json.dumps(about, indent=2) + "\n")
    return 0


def _conclude(args: argparse.Namespace, result: "TestResult", about: dict[str, Any], results: Sequence[Path]) -> int:
    """Print and write; 1 where a requirement is not met."""
    from dataclasses import replace

    from densevit.evaluate.formats import as_json
    from densevit.evaluate.pairs import read_columns
    from densevit.files import write_text

    measured, requirements = result.measured, read_requirements(args)
    if args.table:
        cases = list(dict.fromkeys(record.case for record in measured.records))
        measured = replace(measured, columns=read_columns(args.table, cases))
    say("\n")
    scores = print_scores(args, measured)
    means = ", ".join(f"{name} {value:.2f}" for name, value in about.items() if isinstance(value, float))
    say(f"\n{means}\n\n{result.num_images} images\n")
    say("".join(f"{path}: {steady}\n" for path, steady in result.temporal.items()))
    content = about | dict(evaluation=as_json(measured, scores, read_options(args)))
    for path in results:
        write_text(path, json.dumps(content, indent=2) + "\n")
    write_csv(args, measured)
    return 1 if print_unmet(requirements, scores) else 0
