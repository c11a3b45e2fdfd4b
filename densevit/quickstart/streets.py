"""The quickstart's street scenes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from densevit.data import PictureDataset, guess_dataset
from densevit.metrics import ConfusionMatrix
from densevit.metrics.scores import scores_from_counts
from densevit.quickstart.run import Baseline, Progress, spread, this_python, use_sets
from densevit.quoting import shell
from densevit.report.sheet import Row
from densevit.synthetic.streets import make_street_scenes
from densevit.train.config import replace_options
from densevit.train.run import RunResult
from densevit.train.schema import ConfigFile
from densevit.train.score import TestResult


@dataclass(frozen=True)
class StreetDemo:
    """Street scenes in the Cityscapes layout, rendered at `size` (H, W); see `Demo`."""

    root: Path = Path("data/synthetic_streets")
    num_train: int = 320
    num_val: int = 60
    size: tuple[int, int] = (128, 256)
    num_pictured: int = 6

    def draw(self, *, progress: Progress) -> None:
        """Render the set in `root`, unless it is there in full."""
        numbers = dict(num_train=self.num_train, num_val=self.num_val)
        make_street_scenes(self.root, **numbers, size=self.size, seed=0, progress=progress)

    def use_own(self, config: ConfigFile, data: str | Path) -> ConfigFile:
        """The config for a Cityscapes layout or folders of images and labels, see `guess_dataset`.

        Images of any size are brought to that of the rendered ones, which suits the config's windows.
        """
        sizes = dict.fromkeys(("train_data.augment.base_size", "inference.base_size"), self.size)
        sets = {split: guess_dataset(data, split=split) for split in ("train", "val")}
        return use_sets(replace_options(config, sizes), **sets)

    def baseline(self, train_set: PictureDataset, val_set: PictureDataset, tested: TestResult) -> Baseline:
        """The score of always answering the commonest class."""
        name, miou = constant_score(val_set)
        ours = tested.scores.as_dict(tested.classes)["mIoU"]
        sentence = f"mIoU {ours:.1f} on {tested.num_images} images; always answering {name!r} gives {miou:.1f}"
        return Baseline("constant", {"class": name, "mIoU": miou}, sentence)

    def rows(self, val_set: PictureDataset, predictions: Sequence[Tensor]) -> list[Row]:
        """Images spread over the set."""
        chosen = [(val_set[i], predictions[i].numpy()) for i in spread(len(val_set), self.num_pictured)]
        return [(sample.image.transpose(1, 2, 0), sample.label, prediction) for sample, prediction in chosen]

    def predict(self, run: RunResult, val_set: PictureDataset, *, out: Path, device: str | None) -> None:
        """Nothing: the sheet of predictions shows as much."""

    def commands(self, run: RunResult, val_set: PictureDataset, *, out: Path, iters: int) -> str:
        """The commands that do the same with real Cityscapes, and those that go on with what was trained here."""
        python, trained, predicted = shell(this_python()), run.best or run.checkpoint, out / "predicted"
        again = shell(out / "config.py", "--work-dir", out)
        return f"""\
# The same on real Cityscapes. Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip
# into data/cityscapes (see data/README.md), then:
{python} tools/train.py configs/segformer_b0_cityscapes.py
{python} tools/test.py configs/segformer_b0_cityscapes.py work_dirs/segformer_b0_cityscapes/best/weights.safetensors

# The published recipe on 8 GPUs:
PYTHON={python} bash tools/dist_train.sh configs/segformer_b2_cityscapes.py 8

# What was trained here, on pictures of your own:
{python} tools/predict.py {shell(trained)} PICTURES --out {shell(predicted)}

# Train it for twice as long:
{python} tools/train.py {again} --resume --cfg-options train_cfg.max_iters={2 * iters}
"""


def constant_score(dataset: PictureDataset) -> tuple[str, float]:
    """The set's commonest class, and the mIoU in percent of predicting it everywhere."""
    matrix = ConfusionMatrix(dataset.num_classes, ignore_index=dataset.ignore_index)
    for i in range(len(dataset)):
        label = torch.as_tensor(dataset.evaluation_sample(i).label).long()
        matrix.update(torch.zeros_like(label), label)
    truth = matrix.counts.sum(1)
    commonest = int(truth.argmax())
    counts = torch.zeros_like(matrix.counts)
    counts[:, commonest] = truth
    return dataset.classes[commonest], 100 * scores_from_counts(counts).mIoU
