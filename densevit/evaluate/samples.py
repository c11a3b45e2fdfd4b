"""Measure what a model predicts of the samples of a data set, as label files are measured."""

from collections import Counter
from dataclasses import dataclass, field, replace

from torch import Tensor

from densevit.data.dataset import Dataset, Sample
from densevit.evaluate.files import Measured
from densevit.evaluate.pairs import name_cases
from densevit.evaluate.structures import Structures
from densevit.metrics import MeasureOptions, Record, measure
from densevit.processes import gather
from densevit.volumes.resample import resampled_grid


@dataclass
class SampleMeasurer:
    """Called with each sample of a set and the classes (*S) predicted of it; `measured` is what `measure_files` gives.

    Cases are called as their images are, as those of label files that have their names. Class 0 is a structure of
    pictures, and the background of volumes.
    """

    dataset: Dataset
    options: MeasureOptions
    records: list[list[Record]] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = [str(name) for name in self.dataset.names]
        self.names = dict(zip(names, name_cases(names), strict=True))
        classes = {name: (i,) for i, name in enumerate(self.dataset.classes)}
        self.structures = Structures(classes, (self.dataset.ignore_index,))
        self.scored = {name: values for name, values in classes.items() if values != (0,) or not self.dataset.has_cases}

    def __call__(self, sample: Sample, prediction: Tensor) -> None:
        case, label = self.names[str(sample.meta["image"])], sample.label
        grid = sample.grid if sample.grid.affine is None else resampled_grid(sample.grid, tuple(label.shape))
        options = replace(self.options, ignore_index=self.dataset.ignore_index)
        self.records.append(measure(prediction, label, self.scored, grid.spacing, options, case=case))

    def measured(self) -> Measured:
        """Of all processes, which all call this; cases in the order of their names."""
        ordered, cases = [], Counter()
        found = [records for part in gather(self.records) for records in part]
        for records in sorted(found, key=lambda records: records[0].case):
            case = records[0].case
            cases[case] += 1  # a set may hold an image twice
            name = case if cases[case] == 1 else f"{case} ({cases[case]})"
            ordered += [replace(record, case=name) for record in records]
        return Measured(ordered, self.structures, [], {}, {}, [])
