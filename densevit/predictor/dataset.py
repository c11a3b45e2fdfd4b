"""Predictions of a data set's images as files, named as the images are."""

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from densevit.data import Dataset, Sample
from densevit.files import check_writable
from densevit.labels import label_type
from densevit.predictor.files import check_no_overwrite
from densevit.predictor.inputs import Input, check_names
from densevit.predictor.outputs import check_formats, default_format, own_values, render, write_png


class PredictionWriter:
    """Called with a sample and its prediction (H, W), writes the PNGs of each format to that format's folder.

    A format that is None is "label_ids" where label files have other values than the class numbers, else "train_ids".

    Names are the images' paths below the folder that holds them all: frankfurt/frankfurt_000000_000294_leftImg8bit.png.
    """

    def __init__(self, dataset: Dataset, folders: Mapping[str | None, str | Path]):
        if dataset.has_cases:
            raise ValueError("predictions are written as pictures, and this set holds volumes; score it without --out")
        default = default_format(dataset.label_values)
        self.folders = {name or default: Path(folder) for name, folder in folders.items()}
        self.own = own_values(dataset.classes, dataset.label_values)
        check_formats(tuple(self.folders), classes=dataset.classes, own=self.own)
        self.dataset = dataset
        self.palette = dataset.palette
        self.num_classes = dataset.num_classes
        images = [Path(image) for image in dataset.names]
        root = os.path.commonpath([image.parent for image in images])
        self.names = {str(image): image.relative_to(root).with_suffix("") for image in images}
        check_names([Input(str(name), (Path(image),)) for image, name in self.names.items()])
        written = (self._target(folder, name) for folder in self.folders.values() for name in self.names.values())
        check_no_overwrite(written, dataset.files)
        for folder in self.folders.values():
            check_writable(folder)

    def __call__(self, sample: Sample, prediction: Tensor) -> None:
        image = self.dataset.shown(sample, prediction).image
        label = prediction.cpu().numpy().astype(label_type(self.num_classes))
        name = self.names[str(sample.meta["image"])]
        for format_name, folder in self.folders.items():
            picture = render(format_name, image, label, palette=self.palette, own=self.own)
            write_png(picture, self._target(folder, name))

    @staticmethod
    def _target(folder: Path, name: Path) -> Path:
        return folder / name.with_name(f"{name.name}.png")
