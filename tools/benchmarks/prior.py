"""What a set scores without looking at any scan: a blob in the middle, and the mean of all training labels.

Both know where things lie within a scan, in parts of its box, and nothing else: a trained model has to beat them.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track

from benchmarks.timing import table, write_json
from densevit.engine import load_config, parse_overrides
from densevit.engine.data import open_dataset
from densevit.metrics import CaseDice

GRID = 32  # cells of a box an axis
Predict = Callable[[tuple[int, ...]], np.ndarray]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py prior`."""
    parser.add_argument("config", help="a config of volumes; its train_data is learned from, its val_data scored")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Print Dice by structure, mean over the validation cases, of both."""
    config = load_config(arguments.config, parse_overrides(arguments.cfg_options)).to_dict()
    classes = open_dataset(config, "train_data").classes
    train, val = (labels_of(config, section) for section in ("train_data", "val_data"))
    means = mean_labels(train, num_classes=len(classes))
    ways: dict[str, Predict] = {f"mean label of {len(train)} cases": lambda size: from_means(means, size)}
    if len(classes) == 2:
        radius = best_radius(train)
        ways = {f"blob in the middle, {100 * radius:.0f} % of the box": lambda size: blob(size, radius)} | ways
    rows = []
    for name, predict in ways.items():
        dice = score(val, predict, num_classes=len(classes))
        named = dict(zip((f"Dice {name}" for name in classes[1:]), dice, strict=True))
        rows.append({"without looking": name, **named, "mean": float(np.mean(dice))})
    print(table(list(rows[0]), [list(row.values()) for row in rows]))
    write_json(arguments.json, dict(rows=rows))
    return 0


def labels_of(config: Mapping[str, Any], section: str) -> list[np.ndarray]:
    """Class numbers (D, H, W) of every case, on its own grid."""
    dataset = open_dataset(config, section)
    return [dataset.evaluation_sample(i)["label"] for i in track(range(len(dataset)), description=f"read {section}")]


def mean_labels(labels: Sequence[np.ndarray], *, num_classes: int) -> torch.Tensor:
    """(K, GRID, GRID, GRID): how often each class is at each place of the box."""
    total = torch.zeros(num_classes, GRID, GRID, GRID)
    for label in labels:
        for c in range(num_classes):
            share = torch.from_numpy(label == c).float()
            total[c] += F.interpolate(share[None, None], size=(GRID,) * 3, mode="trilinear", align_corners=False)[0, 0]
    return total / len(labels)


def from_means(means: torch.Tensor, size: tuple[int, ...]) -> np.ndarray:
    """The commonest class at each place (*size)."""
    return F.interpolate(means[None], size=size, mode="trilinear", align_corners=False)[0].argmax(0).numpy()


def blob(size: tuple[int, ...], radius: float) -> np.ndarray:
    """1 within an ellipsoid around the middle, of `radius` in parts of the box, else 0 (*size)."""
    axes = np.meshgrid(*((np.arange(n) + 0.5) / n - 0.5 for n in size), indexing="ij")
    return (sum(axis**2 for axis in axes) < radius**2).astype(np.int64)


def best_radius(labels: Sequence[np.ndarray]) -> float:
    """The one with the best mean Dice on these cases."""
    candidates = np.arange(0.05, 0.5, 0.01)
    return float(max(candidates, key=lambda radius: score(labels, lambda size: blob(size, radius), num_classes=2)[0]))


def score(labels: Sequence[np.ndarray], predict: Predict, *, num_classes: int) -> list[float]:
    """Dice in percent of each class but background, mean over the cases."""
    dice = CaseDice(num_classes)
    for label in labels:
        dice.update(torch.from_numpy(predict(label.shape)), torch.from_numpy(label.astype(np.int64)))
    return [100 * value for value in dice.compute().tolist()[1:]]
