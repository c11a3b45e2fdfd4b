"""The quickstart in 3D: drawn CT scans or the user's own set, trained, tested, and one scan predicted as a user would.

It leaves in its folder, beside what every run leaves:

    table.txt  scores.json  curves.png  predictions.png  predicted/  commands.txt
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from densevit.colors import structure_colors
from densevit.data import create_dataset
from densevit.data.layouts.guess_volumes import choose_split, guess_volume_dataset
from densevit.data.volume_set import VolumeDataset
from densevit.devices import pick_device
from densevit.files import write_text
from densevit.metrics.scores import SegmentationScores
from densevit.predictor.volumes import VolumePredictor, predict_volumes
from densevit.progress import Bars
from densevit.quickstart.atlas import atlas_scores
from densevit.quickstart.streets import shorten, this_python, train_and_test
from densevit.report import prediction_sheet
from densevit.report.planes import volume_rows
from densevit.report.preview import save_preview
from densevit.synthetic.ct import make_synthetic_ct
from densevit.tables import format_table
from densevit.train.config.config import load_config
from densevit.train.run import RunResult
from densevit.train.score import TestResult
from densevit.volumes.volume import open_volume, read_grid

SCANS = dict(num_train=48, num_val=8, seed=0)
NUM_PICTURED = 3  # cases in predictions.png, two planes each
AIR = -500.0  # HU; a scan that holds less is a CT
MOST_VOXELS = (64, 80, 80)  # to which a user's scans are brought, where they are larger


@dataclass(frozen=True)
class CtQuickstart:
    """What came out; `atlas` are the scores of the commonest class at each place of the body."""

    run: RunResult
    tested: TestResult
    atlas: SegmentationScores
    predicted: Path

    def __str__(self) -> str:
        dice = 100 * self.tested.scores.mCaseDice
        return (
            f"mean Dice {dice:.1f} over {len(self.tested.classes) - 1} structures of {self.tested.num_images} scans; "
            f"an atlas has {100 * self.atlas.mCaseDice:.1f}, always answering {self.tested.classes[0]!r} 0"
        )


def quickstart_ct(
    config: str | Path,
    *,
    out: str | Path,
    scans: str | Path = "data/synthetic_ct",
    data: str | Path | None = None,
    iters: int | None = None,
    device: str | None = None,
) -> CtQuickstart:
    """Train and test the config on the scans in `scans`, drawn if absent, or on the set in `data`; predict one scan.

    `data` is a Decathlon or nnU-Net folder, a datalist, or folders of images and labels, see `guess_volume_dataset`;
    its scans are brought to a size that suits the config. ValueError for what the user can mend.
    """
    out = Path(out)
    settings = load_config(config).to_dict()
    if data is None:
        make_scans(Path(scans))
        for section in ("train_data", "val_data"):
            settings[section]["dataset"]["root"] = str(scans)
    else:
        use_own(settings, data)
    if iters is not None:
        shorten(settings, iters)
    run, tested, predictions = train_and_test(settings, config=config, out=out, device=device)
    train_set, val_set = (create_dataset(settings[key]["dataset"]) for key in ("train_data", "val_data"))
    result = CtQuickstart(run, tested, atlas_scores(train_set, val_set), out / "predicted")
    _write_scores(result, out)
    _draw(val_set, predictions, out / "predictions.png")
    predictor = VolumePredictor(run.best or run.checkpoint, device=pick_device(device))
    report = predict_volumes(predictor, val_set.cases[0].images, result.predicted, preview=save_preview)
    for reason in report.failed.values():
        raise ValueError(f"a scan that was tested cannot be predicted: {reason}")
    example = " ".join(val_set.cases[0].images)
    write_text(out / "commands.txt", commands(run, out, scan=example, iters=settings["train_cfg"]["max_iters"]))
    return result


def make_scans(root: Path) -> None:
    """Draw the set unless it is there in full."""
    with Bars(stream=sys.stdout) as shown:
        make_synthetic_ct(root, **SCANS, progress=lambda done, total: shown.show("draw scans", done, total))


def use_own(settings: dict[str, Any], data: str | Path) -> None:
    """Put a set of the user's own into the config, at a spacing at which its scans suit the config's windows."""
    described = choose_split(guess_volume_dataset(data))
    opened = create_dataset(dict(described, split="train", check="load"))
    described["spacing"] = list(_spacing(opened))
    if open_volume(_source(opened, 0), options=opened.read).image.min() < AIR:
        described["normalization"] = settings["train_data"]["dataset"]["normalization"]
    described["cache"] = settings["train_data"]["dataset"].get("cache")
    settings["train_data"]["dataset"] = dict(described, split="train")
    settings["val_data"]["dataset"] = dict(described, split="val")
    settings["test_data"] = None
    for term in settings["loss"]:
        term.pop("class_weights", None)  # of the config's own classes
    settings["model"].update(num_classes=opened.num_classes, in_channels=opened.in_channels)


def _spacing(dataset: VolumeDataset) -> tuple[float, ...]:
    """The set's median millimetres (D, H, W), made coarser where the median scan has more than `MOST_VOXELS`."""
    grids = [read_grid(case.images[0], options=dataset.read) for case in dataset.cases]
    spacing, size = (np.median([getattr(grid, key) for grid in grids], axis=0) for key in ("spacing", "size"))
    factor = max(1.0, *(size / MOST_VOXELS))
    return tuple(round(float(s * factor), 3) for s in spacing)


def _source(dataset: VolumeDataset, index: int) -> str | list[str]:
    images = dataset.cases[index].images
    return images[0] if len(images) == 1 else list(images)


def _write_scores(result: CtQuickstart, out: Path) -> None:
    tested = result.tested
    write_text(out / "table.txt", f"{tested.scores.table(tested.classes)}\n\n{comparison(result)}\n\n{result}\n")
    scores = tested.scores.as_dict(tested.classes)
    atlas = result.atlas.as_dict(tested.classes)
    write_text(out / "scores.json", json.dumps({**scores, "atlas": atlas}, indent=1) + "\n")


def comparison(result: CtQuickstart) -> str:
    """Dice of each structure, the mean over cases in percent, beside the atlas's; "-" where no scan has it."""
    columns = zip(result.tested.classes, result.tested.scores.case_dice, result.atlas.case_dice, strict=True)
    rows = [dict(structure=name, Dice=_percent(ours), atlas=_percent(atlas)) for name, ours, atlas in columns]
    return format_table(rows[1:])


def _percent(score: Tensor) -> float | None:
    return None if score.isnan() else 100 * score.item()


def _draw(dataset: VolumeDataset, predictions: list[Tensor], path: Path) -> None:
    """An axial and a coronal plane of cases spread over the set: scan, truth and prediction."""
    rows = []
    for i in range(0, len(dataset), max(len(dataset) // NUM_PICTURED, 1))[:NUM_PICTURED]:
        volume = open_volume(_source(dataset, i), options=dataset.read)
        label = dataset.evaluation_sample(i)["label"]
        rows += volume_rows(volume.image[0], label, predictions[i].numpy(), spacing=volume.grid.spacing)
    prediction_sheet(
        rows,
        path,
        palette=structure_colors(dataset.num_classes),
        classes=dataset.classes,
        ignore_index=dataset.ignore_index,
    )


def commands(run: RunResult, out: Path, *, scan: str, iters: int) -> str:
    """The commands that do the same with a user's set, and those that go on with what was trained here."""
    python, trained = this_python(), run.best or run.checkpoint
    return f"""\
# What was trained here, on NIfTI, NRRD, MetaImage or a folder of DICOM files; masks lie on the scan's own grid.
{python} tools/predict.py {trained} {scan} --out {out / "predicted"} --preview

# The same on a set of your own: a Decathlon or nnU-Net folder, or folders of images and labels.
{python} tools/quickstart.py --task ct --data DIR

# The Decathlon's hippocampus and BTCV's abdomen, see data/README.md:
{python} tools/train.py configs/mit_b0_unetr_hippocampus.py
{python} tools/train.py configs/unetr_btcv.py --amp

# Train it for twice as long:
{python} tools/train.py {out / "config.py"} --work-dir {out} --resume --cfg-options train_cfg.max_iters={2 * iters}
"""
