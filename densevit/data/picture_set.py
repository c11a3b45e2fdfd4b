"""Pairs of picture and label file as a data set."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densevit.data.case import Case
from densevit.data.dataset import Augment, Dataset, Sample, Shown, grey
from densevit.data.finding import Finding, raise_or_warn
from densevit.data.label_check import Facts, LabelReport, Progress, constant_images, count_classes, look_once
from densevit.labels import IGNORE, Color, check_classes, default_palette
from densevit.normalization import MEAN_STD, ZSCORE, MeanStd, create_normalization
from densevit.pictures.coding import LabelCoding
from densevit.pictures.reading import read_input, read_oriented_label, turn_back
from densevit.volumes.grid import Grid

EXIF_MODES = (None, "apply", "ignore")
View = tuple[tuple[int, int], int]  # upright size (H, W), EXIF orientation that was applied (1 = none)
BACKGROUND = ("background", "unlabelled", "unlabeled", "other", "nothing")  # names of what 0 stands for in most files
MOST_LOOKED_AT = 64  # labels, to find out which of several values of a class they hold


class PictureDataset(Dataset):
    """Pictures with one label map each; `pairs` are paths of image and label, the latter None where there is none.

    `coding` says what label values mean: one LabelCoding, or several by the ending of the file's name. `exif` says
    what to do with a photo that carries an EXIF turn while its label does not: None refuses it where the label's size
    leaves open how it was drawn, "apply" takes labels as drawn on the upright photo, "ignore" leaves both as stored.
    `normalization` (`densevit.normalization`) is ImageNet's for three channels, and each picture's own z-score for
    other numbers of them, unless it is given.
    """

    ignore_index = IGNORE
    spatial_dims = 2
    slices = None
    has_cases = False

    def __init__(
        self,
        pairs: Sequence[tuple[str, str | None]],
        *,
        classes: Sequence[str],
        coding: LabelCoding | Mapping[str, LabelCoding],
        palette: Sequence[Color] | None = None,
        exif: str | None = None,
        in_channels: int = 3,
        normalization: Mapping[str, Any] | None = None,
    ):
        if exif not in EXIF_MODES:
            raise ValueError(f"exif must be None, 'apply' or 'ignore', got {exif!r}")
        self.cases = [Case((image,), label) for image, label in pairs]
        self.classes = check_classes(classes)
        self.palette = [tuple(color) for color in palette or default_palette(len(self.classes))]
        if len(self.palette) != len(self.classes):
            raise ValueError(
                f"the palette has {len(self.palette)} colours for {len(self.classes)} classes; give one for each"
            )
        self.codings = dict(coding) if isinstance(coding, Mapping) else {"": coding}
        self.exif = exif
        self.in_channels = in_channels
        default = MEAN_STD if in_channels == 3 else ZSCORE
        self.normalization = {k: list(v) if isinstance(v, tuple) else v for k, v in (normalization or default).items()}
        self.normalize = create_normalization(self.normalization)
        self.fill = self.normalize.zero

    @cached_property
    def label_values(self) -> list[int] | None:
        """The files' values of the classes, of several for one class that which most pixels have; None where these are
        the class numbers, and where files have colours, nothing for a class, or meanings that differ by their endings.
        """
        labels = [case.label for case in self.cases if case.label is not None]
        used = {end for end in self.codings if any(label.endswith(end) for label in labels)} or set(self.codings)
        found = {self.codings[end].values for end in used}
        candidates = found.pop() if len(found) == 1 else ()
        if not candidates or not all(candidates):
            return None
        several = any(len(each) > 1 for each in candidates)
        counts = count_values(labels[:: -(-len(labels) // MOST_LOOKED_AT)]) if several and labels else {}
        values = [max(each, key=lambda value: counts.get(value, 0)) for each in candidates]
        return None if values == list(range(self.num_classes)) else values

    def __getitem__(self, index: int) -> Sample:
        """The picture as its file has it, (C, H, W), with its class numbers uint8 (H, W)."""
        case = self.cases[index]
        options = dict(channels=self.in_channels, normalization=self.normalization, exif=self.exif)
        image, turned = read_input(case.name, **options)
        label = None
        if case.label is not None:
            coding = self._coding_of(case.label)
            values, label_turned = read_oriented_label(case.label, color_map=coding.color_map)
            label = coding.decode(values, path=case.label)
            self._check_fit(case, image=(image.shape[1:], turned), label=(label.shape, label_turned))
            label = turn_back(label, label_turned) if self.exif == "ignore" else label
        return Sample(
            image=image, label=label, grid=Grid(image.shape[1:]), meta=dict(image=case.name, label=case.label)
        )

    def train_sample(self, index: int, *, augment: Augment, rng: np.random.Generator) -> Sample:
        sample = self[index]
        changed = augment(sample, rng)
        return replace(changed, image=self.normalize.of(sample.image)(changed.image))

    def evaluation_sample(self, index: int) -> Sample:
        sample = self[index]
        return replace(sample, image=self.normalize(sample.image))

    def shown(self, sample: Sample, prediction: Tensor) -> Shown:
        """The whole picture, in the file's own colours where they are known, else in shades of grey."""
        image, normalize = sample.image.cpu(), self.normalize
        if isinstance(normalize, MeanStd) and len(image) == 3 and max(normalize.mean) <= 255:
            pixels = image.permute(1, 2, 0) * torch.tensor(normalize.std) + torch.tensor(normalize.mean)
            pixels = pixels.round().clamp(0, 255).to(torch.uint8).numpy()
        else:
            pixels = grey(image[0])
        return Shown(pixels, None if sample.label is None else sample.label.numpy(), prediction.cpu().numpy())

    def check(self, *, progress: Progress | None = None) -> LabelReport:
        if not self.has_labels:
            raise ValueError("labels can be checked in a set with labels, and this one was opened without")
        asked = repr((self.codings, self.exif, self.in_channels, self.normalization))
        facts = look_once([case.files for case in self.cases], self._look, asked=asked, progress=progress)
        report = LabelReport.of([each["counts"] for each in facts], num_classes=self.num_classes)
        raise_or_warn(self.judge(dict(enumerate(facts))))
        return report

    def inspect(self, index: int) -> tuple[Facts, Sample]:
        """Pixels by class of one label; the image is read as in training, and must have the label's size."""
        sample = self[index]
        constant = bool((sample.image == sample.image[..., :1, :1]).all())
        return dict(counts={} if sample.label is None else count_classes(sample.label), constant=constant), sample

    def judge(self, facts: Mapping[int, Facts]) -> list[Finding]:
        constant = [self.names[index] for index, each in facts.items() if each["constant"]]
        labels = [self.cases[index].label for index in facts]
        if not labels or None in labels:
            return constant_images(constant)
        report = LabelReport.of([each["counts"] for each in facts.values()], num_classes=self.num_classes)
        black_and_white = self._black_and_white(report, labels)
        found = [*self._hidden_zero(report, labels), *report.findings(self.classes, labels=labels)]
        return black_and_white or [*found, *constant_images(constant)]

    def _look(self, index: int) -> Facts:
        return self.inspect(index)[0]

    def _hidden_zero(self, report: LabelReport, labels: Sequence[str]) -> list[Finding]:
        """Files in which 0 seems to be a class, although `reduce_zero_label` ignores it and moves all others."""
        path = labels[int(report.ignored.argmax())]
        counts, ignored = report.counts.sum(0), int(report.ignored.sum())
        if not self._coding_of(path).reduce_zero_label or not (read_oriented_label(path)[0] == 0).any():
            return []
        signs = []
        if counts[:-1].all() and not counts[-1]:
            signs.append(f"no label holds {self.num_classes}, which stands for the last class {self.classes[-1]}")
        if ignored > counts.sum():
            signs.append(f"{100 * ignored / (ignored + counts.sum()):.0f} % of all pixels are ignored")
        if self.classes[0].lower() in BACKGROUND:
            signs.append(f"the first class is called {self.classes[0]}, which is 1 in the files")
        if not signs:
            return []
        what = f"reduce_zero_label ignores the value 0, which {path} holds, and {' and '.join(signs)}"
        mend = "if 0 is a class in the files, leave reduce_zero_label out: it hides this class and renames all others"
        return [Finding(severity="warning", check="zero", what=what, mend=mend, files=tuple(labels))]

    def _black_and_white(self, report: LabelReport, labels: Sequence[str]) -> list[Finding]:
        """Black-and-white masks pass as class 0 and ignored, and a network would learn nothing from them."""
        if self.num_classes < 2 or report.counts[:, 1:].any() or not report.counts.any() or not report.ignored.any():
            return []
        path = labels[int(report.ignored.argmax())]
        coded = self._coding_of(path).color_map is not None
        if coded or not set(np.unique(read_oriented_label(path)[0]).tolist()) <= {0, 255}:
            return []
        what = f"the {len(labels)} labels have no values but 0 and 255 (first {path}), and 255 means ignored"
        mend = "if these are black-and-white masks, label_map={255: 1} with ignore_index='none' reads white as class 1"
        return [Finding(severity="error", check="masks", what=what, mend=mend, files=tuple(labels))]

    def _check_fit(self, case: Case, *, image: View, label: View) -> None:
        """Raise ValueError where a label has another size than its image, or may be drawn on another view of it."""
        (size, turned), (label_size, label_turned) = image, label
        if self.exif == "ignore":
            size, label_size = _stored(size, turned), _stored(label_size, label_turned)
        elif self.exif is None and turned != 1 and label_turned == 1 and label_size == _stored(size, turned):
            way = "turn the label, or set exif='ignore' to use both as they are stored"
            if label_size == size:  # which does not tell on which view it was drawn
                way = "it was drawn: exif='apply' if on the upright view, exif='ignore' if on the stored pixels"
            turn = f"is turned by its EXIF orientation ({turned})"
            raise ValueError(f"{case.name} {turn} and its label {case.label} is not; {way}")
        if size != label_size:
            (height, width), (label_height, label_width) = size, label_size
            raise ValueError(
                f"{case.label} is {label_width} x {label_height} and its image {case.name} is {width} x {height}; a "
                "label needs the size of its image"
            )

    def _coding_of(self, path: str) -> LabelCoding:
        """The coding of a label file, by the ending of its name."""
        return next(coding for ending, coding in self.codings.items() if path.endswith(ending))


def count_values(labels: Sequence[str]) -> Counter[int]:
    """Pixels of each value in label files; those that cannot be read are left out, and told of when they are used."""
    counts: Counter[int] = Counter()
    for path in labels:
        with suppress(ValueError, OSError):
            values, pixels = np.unique(read_oriented_label(path)[0], return_counts=True)
            counts.update(dict(zip(values.tolist(), pixels.tolist(), strict=True)))
    return counts


def _stored(size: tuple[int, int], turned: int) -> tuple[int, int]:
    return size[::-1] if turned >= 5 else size
