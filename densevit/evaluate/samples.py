"""Measure what a model predicts of the samples of a data set, as label files are measured."""

from collections import Counter
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from densevit.data.dataset import Dataset, Sample
from densevit.evaluate.files import Measured
from densevit.evaluate.pairs import name_cases
from densevit.evaluate.structures import Structures
from densevit.metrics import MeasureOptions, Record, measure
from densevit.metrics.distances import diagonal
from densevit.metrics.records import Counts
from densevit.processes import gather
from densevit.volumes.resample import resampled_grid


@dataclass
class SampleMeasurer:
    """Called with each sample of a set and the classes (*S) predicted of it; `measured` is what `measure_files` gives.

    Of videos it is called with the frames, one after another: counts of pixels are added up, and where distances are
    asked for, label maps are kept until their video ends. Cases are called as their images are, as those of label files
    that have their names. Class 0 is a structure of pictures, and the background of volumes.
    """

    dataset: Dataset
    options: MeasureOptions
    records: list[list[Record]] = field(default_factory=list)
    frames: list[tuple[Sample, Tensor]] = field(default_factory=list)  # of a video that goes on, if they are kept
    video: list[Record] = field(default_factory=list)  # what was counted of it, if they are not

    def __post_init__(self) -> None:
        names = [str(name) for name in self.dataset.names]
        self.names = dict(zip(names, name_cases(names), strict=True))
        classes = {name: (i,) for i, name in enumerate(self.dataset.classes)}
        self.structures = Structures(classes, (self.dataset.ignore_index,))
        self.scored = {name: values for name, values in classes.items() if values != (0,) or not self.dataset.has_cases}

    def __call__(self, sample: Sample, prediction: Tensor) -> None:
        if "frame" not in sample.meta:
            self.records.append(self._measure(sample, prediction))
            return
        if sample.meta["frame"] == 0:
            self._end_video()
        if self.options.metrics:
            label = sample.label.to(torch.uint8)
            self.frames.append((replace(sample, image=sample.image[:, :0], label=label), prediction.to(torch.uint8)))
        else:
            found, size = self._measure(sample, prediction), (sample.meta["frame"] + 1, *sample.label.shape[1:])
            before = self.video or [replace(record, counts=Counts(0, 0, 0, 0)) for record in found]
            counts = [old.counts + new.counts for old, new in zip(before, found, strict=True)]
            whole = dict(diagonal=diagonal(size, sample.grid.spacing))
            self.video = [
                replace(record, counts=count, values=record.values | count.values(), **whole)
                for record, count in zip(found, counts, strict=True)
            ]

    def _measure(self, sample: Sample, prediction: Tensor) -> list[Record]:
        case, label = self.names[str(sample.meta["image"])], sample.label
        grid = sample.grid if sample.grid.affine is None else resampled_grid(sample.grid, tuple(label.shape))
        options = replace(self.options, ignore_index=self.dataset.ignore_index)
        return measure(prediction, label, self.scored, grid.spacing, options, case=case)

    def _end_video(self) -> None:
        """Records of the one that went on, if there is one."""
        if self.frames:
            samples, predictions = zip(*self.frames, strict=True)
            whole = replace(samples[0], label=torch.cat([sample.label for sample in samples]))
            self.video = self._measure(whole, torch.cat(predictions))
        self.records += [self.video] if self.video else []
        self.frames, self.video = [], []

    def measured(self) -> Measured:
        """Of all processes, which all call this; cases in the order of their names."""
        self._end_video()
        ordered, cases = [], Counter()
        found = [records for part in gather(self.records) for records in part]
        for records in sorted(found, key=lambda records: records[0].case):
            case = records[0].case
            cases[case] += 1  # a set may hold an image twice
            name = case if cases[case] == 1 else f"{case} ({cases[case]})"
            ordered += [replace(record, case=name) for record in records]
        return Measured(ordered, self.structures, [], {}, {}, [])
