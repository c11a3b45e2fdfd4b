"""What a set scores without looking at any scan: a blob in the middle, and the mean of all training labels.

Both know where things lie within a scan, in parts of its box, and nothing else: a trained model has to beat them.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from rich.progress import track

from benchmarks.timing import write_json
from densevit.data import Dataset
from densevit.metrics import MeasureOptions, measure, scores_from_records
from densevit.quickstart.atlas import atlas_scores, whole_scan
from densevit.tables import format_table
from densevit.train import load_config, parse_overrides
from densevit.train.data import open_dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py prior`."""
    parser.add_argument("config", help="a config of volumes; its train_data is learned from, its val_data scored")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Print Dice by structure, mean over the validation cases, of both."""
    config = load_config(arguments.config, parse_overrides(arguments.cfg_options))
    train, val = (open_dataset(config, section) for section in ("train_data", "val_data"))
    ways = {}
    if train.num_classes == 2:
        labels = labels_of(train)
        radius = best_radius(labels)
        ways[f"blob in the middle, {100 * radius:.0f} % of the box"] = score_blob(labels_of(val), radius)
    ways[f"mean label of {len(train)} cases"] = atlas_scores(train, val, box=whole_scan).case_dice
    rows = []
    for way, dice in ways.items():
        values = [100 * value for value in dice.tolist()[1:]]
        named = dict(zip((f"Dice {name}" for name in train.classes[1:]), values, strict=True))
        rows.append({"without looking": way, **named, "mean": float(np.nanmean(values))})
    print(format_table(rows, style="markdown"))
    write_json(arguments.json, dict(rows=rows))
    return 0


def labels_of(dataset: Dataset) -> list[np.ndarray]:
    """Class numbers (D, H, W) of every case, on its own grid."""
    return [dataset.evaluation_sample(i).label for i in track(range(len(dataset)), description="read labels")]


def blob(size: tuple[int, ...], radius: float) -> np.ndarray:
    """1 within an ellipsoid around the middle, of `radius` in parts of the box, else 0 (*size)."""
    axes = np.meshgrid(*((np.arange(n) + 0.5) / n - 0.5 for n in size), indexing="ij")
    return (sum(axis**2 for axis in axes) < radius**2).astype(np.int64)


def best_radius(labels: Sequence[np.ndarray]) -> float:
    """The one with the best mean Dice on these cases."""
    return float(max(np.arange(0.05, 0.5, 0.01), key=lambda radius: float(score_blob(labels, radius)[1])))


def score_blob(labels: Sequence[np.ndarray], radius: float) -> torch.Tensor:
    """Dice of both classes (2,), mean over the cases."""
    options = MeasureOptions(metrics=(), include_background=True)
    classes = ["background", "blob"]
    found = (measure(blob(x.shape, radius), x, classes, None, options, case=str(i)) for i, x in enumerate(labels))
    return scores_from_records([record for records in found for record in records], by_case=True).case_dice
