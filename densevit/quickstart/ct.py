"""The quickstart's CT scans; one of them is predicted as a user would, into `predicted/`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from densevit.data import create_dataset
from densevit.data.layouts.guess_volumes import choose_split, guess_volume_dataset
from densevit.data.volume_set import VolumeDataset
from densevit.losses import check_loss
from densevit.metrics.scores import SegmentationScores
from densevit.predictor import Predictor, predict
from densevit.processes import pick_device
from densevit.quickstart.atlas import atlas_scores
from densevit.quickstart.run import Baseline, Progress, spread, this_python, use_sets
from densevit.quoting import shell
from densevit.report.planes import volume_rows
from densevit.report.preview import save_preview
from densevit.report.sheet import Row
from densevit.synthetic.ct import make_synthetic_ct
from densevit.tables import format_table
from densevit.train.config import replace_options
from densevit.train.run import RunResult
from densevit.train.schema import ConfigFile
from densevit.train.score import TestResult
from densevit.volumes.volume import open_volume, read_grid

AIR = -500.0  # HU; a scan that holds less is a CT


@dataclass(frozen=True)
class CtDemo:
    """CT scans as a Decathlon folder; see `Demo`.

    `scan_options` go to `make_synthetic_ct`; a user's scans are brought to at most `most_voxels` (D, H, W).
    """

    root: Path = Path("data/synthetic_ct")
    num_train: int = 48
    num_val: int = 8
    scan_options: Mapping[str, Any] = field(default_factory=dict)
    most_voxels: tuple[int, int, int] = (64, 80, 80)
    num_pictured: int = 3

    def draw(self, *, progress: Progress) -> None:
        """Draw the set in `root`, unless it is there in full."""
        numbers = dict(num_train=self.num_train, num_val=self.num_val)
        make_synthetic_ct(self.root, **numbers, seed=0, **self.scan_options, progress=progress)

    def use_own(self, config: ConfigFile, data: str | Path) -> ConfigFile:
        """The config for a Decathlon or nnU-Net folder, a datalist, or folders, see `guess_volume_dataset`.

        Scans are brought to voxels at which they suit the config's windows.
        """
        described, before = choose_split(guess_volume_dataset(data)), config.train_data.dataset
        opened = create_dataset(dict(described, split="train", check="load"))
        described["spacing"] = list(self._spacing(opened))
        if open_volume(_source(opened, 0), options=opened.read).image.min() < AIR:
            described["normalization"] = before["normalization"]
        described["cache"] = before.get("cache")
        # Class weights are those of the config's own classes.
        terms = check_loss(config.loss)
        loss = [{key: value for key, value in term.items() if key != "class_weights"} for term in terms]
        sets = {split: dict(described, split=split) for split in ("train", "val")}
        return use_sets(replace_options(config, {"loss": loss}), **sets)

    def _spacing(self, dataset: VolumeDataset) -> tuple[float, ...]:
        """The set's median millimetres (D, H, W), made coarser where the median scan is larger than `most_voxels`."""
        grids = [read_grid(case.images[0], options=dataset.read) for case in dataset.cases]
        spacing, size = (np.median([getattr(grid, key) for grid in grids], axis=0) for key in ("spacing", "size"))
        factor = max(1.0, *(size / self.most_voxels))
        return tuple(round(float(s * factor), 3) for s in spacing)

    def baseline(self, train_set: VolumeDataset, val_set: VolumeDataset, tested: TestResult) -> Baseline:
        """The commonest class at each place of the body."""
        atlas = atlas_scores(train_set, val_set)
        sentence = (
            f"mean Dice {100 * tested.scores.mCaseDice:.1f} over {len(tested.classes) - 1} structures of "
            f"{tested.num_images} scans; an atlas has {100 * atlas.mCaseDice:.1f}, always answering "
            f"{tested.classes[0]!r} 0"
        )
        return Baseline("atlas", atlas.as_dict(tested.classes), sentence, comparison(tested, atlas))

    def rows(self, val_set: VolumeDataset, predictions: Sequence[Tensor]) -> list[Row]:
        """An axial and a coronal plane of cases spread over the set."""
        rows = []
        for i in spread(len(val_set), self.num_pictured):
            volume = open_volume(_source(val_set, i), options=val_set.read)
            label = val_set.evaluation_sample(i).label
            rows += volume_rows(volume.image[0], label, predictions[i].numpy(), spacing=volume.grid.spacing)
        return rows

    def predict(self, run: RunResult, val_set: VolumeDataset, *, out: Path, device: str | None) -> None:
        """The mask of a scan on its own grid, what was measured of its structures, and a picture."""
        predictor = Predictor(run.best or run.checkpoint, device=pick_device(device))
        report = predict(predictor, val_set.cases[0].images, out, preview=save_preview)
        for reason in report.failed.values():
            raise ValueError(f"a scan that was tested cannot be predicted: {reason}")

    def commands(self, run: RunResult, val_set: VolumeDataset, *, out: Path, iters: int) -> str:
        """The commands that do the same with a user's set, and those that go on with what was trained here."""
        python, trained, predicted = shell(this_python()), run.best or run.checkpoint, out / "predicted"
        again = shell(out / "config.py", "--work-dir", out)
        return f"""\
# What was trained here, on NIfTI, NRRD, MetaImage or a folder of DICOM files; masks lie on the scan's own grid.
{python} tools/predict.py {shell(trained, *val_set.cases[0].images, "--out", predicted)} --preview

# The same on a set of your own: a Decathlon or nnU-Net folder, or folders of images and labels.
{python} tools/quickstart.py --task ct --data DIR

# The Decathlon's hippocampus and BTCV's abdomen, see data/README.md:
{python} tools/train.py configs/mit_b0_unetr_hippocampus.py
{python} tools/train.py configs/unetr_btcv.py --amp

# Train it for twice as long:
{python} tools/train.py {again} --resume --cfg-options train_cfg.max_iters={2 * iters}
"""


def comparison(tested: TestResult, atlas: SegmentationScores) -> str:
    """Dice of each structure, the mean over cases in percent, beside the atlas's; "-" where no scan has it."""
    columns = zip(tested.classes, tested.scores.case_dice, atlas.case_dice, strict=True)
    rows = [dict(structure=name, Dice=_percent(ours), atlas=_percent(theirs)) for name, ours, theirs in columns]
    return format_table(rows[1:])


def _percent(score: Tensor) -> float | None:
    return None if score.isnan() else 100 * score.item()


def _source(dataset: VolumeDataset, index: int) -> str | list[str]:
    images = dataset.cases[index].images
    return images[0] if len(images) == 1 else list(images)
