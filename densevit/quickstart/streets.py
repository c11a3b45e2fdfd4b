"""The quickstart: street scenes or the user's own set, trained and tested as `tools/train.py` and `tools/test.py` do.

It leaves in its folder, beside what every run leaves:

    table.txt  scores.json  curves.png  predictions.png  commands.txt
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from densevit.data import SegmentationDataset, create_dataset, guess_dataset
from densevit.files import write_text
from densevit.metrics import ConfusionMatrix
from densevit.metrics.scores import scores_from_counts
from densevit.progress import Bars
from densevit.report import prediction_sheet
from densevit.synthetic.streets import make_street_scenes
from densevit.train.config.config import check_config, load_config
from densevit.train.run import RunResult, train
from densevit.train.score import TestResult, test

STREETS = dict(num_train=320, num_val=60, size=(128, 256), seed=0)
NUM_PICTURES = 6


@dataclass(frozen=True)
class Quickstart:
    """What came out: scores in percent, and the score of always answering the commonest class."""

    run: RunResult
    tested: TestResult
    constant_class: str
    constant_miou: float

    def __str__(self) -> str:
        means = self.tested.scores.as_dict(self.tested.classes)
        return (
            f"mIoU {means['mIoU']:.1f} on {self.tested.num_images} images; "
            f"always answering {self.constant_class!r} gives {self.constant_miou:.1f}"
        )


def quickstart(
    config: str | Path,
    *,
    out: str | Path,
    streets: str | Path = "data/synthetic_streets",
    data: str | Path | None = None,
    iters: int | None = None,
    device: str | None = None,
) -> Quickstart:
    """Train and test the config on the scenes in `streets`, rendered if absent, or on the set in `data`.

    `data` is a Cityscapes layout or folders of images and labels, see `guess_dataset`; its images are used at the size
    at which they fit the config's windows. ValueError for what the user can mend.
    """
    out = Path(out)
    settings = load_config(config).to_dict()
    if data is None:
        make_streets(Path(streets))
        _use(settings, {split: dict(type="cityscapes", root=str(streets), split=split) for split in ("train", "val")})
    else:
        _use(settings, {split: guess_dataset(data, split=split) for split in ("train", "val")})
        _shrink(settings)
    if iters is not None:
        shorten(settings, iters)
    run, tested, predictions = train_and_test(settings, config=config, out=out, device=device)
    val_set = create_dataset(settings["val_data"]["dataset"])
    result = Quickstart(run, tested, *constant_score(val_set))
    _write_scores(result, out)
    _draw(val_set, predictions, out / "predictions.png")
    write_text(out / "commands.txt", commands(run, out, iters=settings["train_cfg"]["max_iters"]))
    return result


def train_and_test(
    settings: dict[str, Any], *, config: str | Path, out: Path, device: str | None
) -> tuple[RunResult, TestResult, list[Tensor]]:
    """Train in `out`, then test the best weights: also the predictions, uint8 (*S), in the order of the set."""
    checked = Config(check_config(settings, path=config).to_dict(), filename=str(config))
    run = train(checked, work_dir=out, device=device)
    predictions: list[Tensor] = []
    tested = test(
        checked,
        run.best or run.checkpoint,
        device=device,
        on_prediction=lambda sample, labels: predictions.append(labels.cpu().to(torch.uint8)),
    )
    return run, tested, predictions


def make_streets(root: Path) -> None:
    """Render the street set unless it is there in full."""
    with Bars(stream=sys.stdout) as shown:
        make_street_scenes(root, **STREETS, progress=lambda done, total: shown.show("render", done, total))


def constant_score(dataset: SegmentationDataset) -> tuple[str, float]:
    """The set's commonest class, and the mIoU in percent of predicting it everywhere."""
    matrix = ConfusionMatrix(dataset.num_classes, ignore_index=dataset.ignore_index)
    for i in range(len(dataset)):
        label = torch.as_tensor(dataset[i]["label"]).long()
        matrix.update(torch.zeros_like(label), label)
    truth = matrix.counts.sum(1)
    commonest = int(truth.argmax())
    counts = torch.zeros_like(matrix.counts)
    counts[:, commonest] = truth
    return dataset.classes[commonest], 100 * scores_from_counts(counts).mIoU


def _use(settings: dict[str, Any], datasets: Mapping[str, dict[str, Any]]) -> None:
    settings["train_data"]["dataset"] = datasets["train"]
    settings["val_data"]["dataset"] = datasets["val"]
    settings["test_data"] = None
    settings["model"]["num_classes"] = create_dataset(datasets["train"]).num_classes


def _shrink(settings: dict[str, Any]) -> None:
    """Bring images of any size to the rendered ones' size."""
    settings["train_data"]["augment"]["base_size"] = STREETS["size"]
    settings["inference"]["base_size"] = STREETS["size"]


def shorten(settings: dict[str, Any], iters: int) -> None:
    """Train for `iters` iterations, with everything that is counted in them in proportion."""
    section, schedule = settings["train_cfg"], settings["schedule"]
    share = iters / section["max_iters"]
    for key in ("max_iters", "val_interval", "checkpoint_interval"):
        section[key] = max(round(section[key] * share), 1)
    section["max_iters"] = iters
    section["log_interval"] = min(section["log_interval"], iters)
    schedule["warmup_iters"] = round(schedule["warmup_iters"] * share)


def _write_scores(result: Quickstart, out: Path) -> None:
    tested = result.tested
    write_text(out / "table.txt", f"{tested.scores.table(tested.classes)}\n\n{result}\n")
    scores = tested.scores.as_dict(tested.classes)
    constant = {"class": result.constant_class, "mIoU": result.constant_miou}
    write_text(out / "scores.json", json.dumps({**scores, "constant": constant}, indent=1) + "\n")


def _draw(dataset: SegmentationDataset, predictions: Sequence[Tensor], path: Path) -> None:
    """Image, truth and prediction of images spread over the set."""
    rows = []
    for i in range(0, len(dataset), max(len(dataset) // NUM_PICTURES, 1)):
        sample = dataset[i]
        rows.append((sample["image"], sample["label"], predictions[i].numpy()))
    prediction_sheet(
        rows[:NUM_PICTURES],
        path,
        palette=dataset.palette,
        classes=dataset.classes,
        ignore_index=dataset.ignore_index,
    )


def commands(run: RunResult, out: Path, *, iters: int) -> str:
    """The commands that do the same with real Cityscapes, and those that go on with what was trained here."""
    python = this_python()
    trained = run.best or run.checkpoint
    return f"""\
# The same on real Cityscapes. Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip
# into data/cityscapes (see data/README.md), then:
{python} tools/train.py configs/segformer_b0_cityscapes.py
{python} tools/test.py configs/segformer_b0_cityscapes.py work_dirs/segformer_b0_cityscapes/best/weights.safetensors

# The published recipe on 8 GPUs:
PYTHON={python} bash tools/dist_train.sh configs/segformer_b2_cityscapes.py 8

# What was trained here, on pictures of your own:
{python} tools/predict.py {trained} PICTURES --out {out / "predicted"}

# Train it for twice as long:
{python} tools/train.py {out / "config.py"} --work-dir {out} --resume --cfg-options train_cfg.max_iters={2 * iters}
"""


def this_python() -> Path:
    """The interpreter that runs, from here where it lies below."""
    python = Path(sys.executable)
    return python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
