"""Scans with label maps as a data set."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from densevit.blocks.nd import resize
from densevit.data.case import Case, names_of_channels, read_case_label
from densevit.data.case_cache import CaseCache
from densevit.data.dataset import Augment, Dataset, Sample, Shown, grey
from densevit.data.findings import source_files
from densevit.data.foreground import draw_slice, foreground_voxels
from densevit.data.label_check import Facts, LabelReport, Progress, count_classes, look_once
from densevit.inference import SliceOptions
from densevit.labels import IGNORE, check_classes, structure_colors
from densevit.normalization import ZSCORE, create_normalization, in_full
from densevit.volumes import resample
from densevit.volumes.grid import Grid, check_same_grid
from densevit.volumes.modality import check_modality, modalities_of_normalization, modality_of_name
from densevit.volumes.volume import REFUSING, ReadOptions, Volume, open_volume, read_grid, read_header

SPACING_TOLERANCE = 1e-3  # relative: how much the spacing may vary within a set that is not resampled
PREPARED = 4  # counts up when the same files and options give other arrays
Arrays = dict[str, np.ndarray]


class VolumeDataset(Dataset):
    """Scans of one kind; `label_values` are the files' values of the classes, `ignored_value` that of no class.

    Intensities become comparable as `normalization` says (`densevit.normalization`). With `spacing`, millimetres
    between voxels (D, H, W), all cases are resampled to it; without, all must have one already. `channels` are names of
    the channels, such as "CT". `cache` keeps what was made of each case on disk. With `slices` a network of pictures
    learns from single slices, and is scored on whole scans.
    """

    ignore_index = IGNORE
    has_cases = True
    fill = (0.0,)

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        classes: Sequence[str],
        label_values: Sequence[int],
        ignored_value: int | None = None,
        channels: Sequence[str] = ("image",),
        normalization: Mapping[str, Any] = ZSCORE,
        spacing: Sequence[float] | None = None,
        read: ReadOptions = REFUSING,
        cache: CaseCache | None = None,
        slices: SliceOptions | None = None,
    ):
        resample.check_spacing(spacing)
        if len(classes) > IGNORE:
            raise ValueError(f"there can be {IGNORE} classes of volumes at most, got {len(classes)}; join some of them")
        self.cases = list(cases)
        self.classes = check_classes(classes)
        self.palette = structure_colors(len(self.classes))
        self.label_values = [int(value) for value in label_values]
        self.ignored_value = ignored_value
        self.slices = slices
        self.spatial_dims = 3 if slices is None else 2
        self.image_channels = len(channels)
        self.in_channels = self.image_channels * (1 if slices is None else slices.count)
        self.normalization = in_full(normalization)
        self.normalize = create_normalization(normalization)
        self.named = tuple(map(modality_of_name, channels))
        normalised = modalities_of_normalization(self.normalization, self.image_channels)
        self.expected = tuple(name or kind for name, kind in zip(self.named, normalised, strict=True))  # modalities
        self.wanted_spacing = None if spacing is None else tuple(map(float, spacing))
        self.read = read
        self.cache = cache

    @cached_property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels (D, H, W) of all samples, within rounding; `check` makes sure of it."""
        return self.wanted_spacing or read_grid(self.cases[0].images[0], options=self.read).spacing

    @cached_property
    def modality(self) -> tuple[str, ...] | None:
        """What each channel is, by its files or its name (`densevit.volumes.modality`); None where neither says it."""
        _, found = read_header(self.cases[0].images, options=self.read)
        said = tuple(file or name for file, name in zip(found, self.named, strict=True))
        return said if any(said) else None

    @property
    def image_names(self) -> tuple[str, ...] | None:
        """How the files of each channel are called, see `names_of_channels`."""
        return names_of_channels([case.images for case in self.cases])

    def __getitem__(self, index: int) -> Sample:
        """The volume normalised and resampled, (C, D, H, W), with its class numbers (D, H, W) on the same voxels.

        Arrays may be memory maps.
        """
        case = self.cases[index]
        arrays = self._prepared(case)
        return self._sample(case, arrays, label=arrays.get("label"), foreground=arrays.get("foreground"))

    def train_sample(self, index: int, *, augment: Augment, rng: np.random.Generator) -> Sample:
        sample = self[index]
        return augment(sample if self.slices is None else draw_slice(sample, rng, slices=self.slices), rng)

    def evaluation_sample(self, index: int) -> Sample:
        case = self.cases[index]
        arrays = self._prepared(case)
        label = arrays.get("label")
        if label is not None and label.shape != tuple(arrays["size"]):  # it was resampled with the image
            label = self._kept(case, ["label"], lambda: dict(label=self._label(case)[0]))["label"]
        return self._sample(case, arrays, label=label)

    def shown(self, sample: Sample, prediction: Tensor) -> Shown:
        """The plane (H, W) that has most voxels of classes other than the first; label on the scan's grid."""
        label, image = sample.label, sample.image
        middle = int(((label > 0) & (label < IGNORE)).sum((1, 2)).argmax())
        place = int((middle + 0.5) * image.shape[1] / len(label))  # the image may have been resampled
        plane = resize(image[None, :1, place], tuple(label.shape[1:]))[0, 0]
        return Shown(grey(plane), label[middle].numpy(), prediction[middle].cpu().numpy())

    def check(self, *, progress: Progress | None = None) -> LabelReport:
        files = [tuple(str(file) for path in case.files for file in source_files(path)) for case in self.cases]
        facts = look_once(files, self._look, asked=self._label_options, progress=progress)
        self._check_spacings([tuple(each["spacing"]) for each in facts])
        for case, each in zip(self.cases, facts, strict=True):
            check_modality(case.name, each["modality"], facts[0]["modality"], who=f"{self.cases[0].name} of this set")
        report = LabelReport.of([each["counts"] for each in facts], num_classes=self.num_classes)
        if self.has_labels:
            remarks = [each["remark"] for each in facts if each["remark"]]
            report.review(self.classes, labels=[case.label for case in self.cases], remarks=remarks)
        return report

    def _look(self, index: int) -> Facts:
        """The spacing of one case, whose channels, label values and grids fit, and its voxels by class."""
        case = self.cases[index]
        grid, modality = read_header(case.images, options=self.read)
        self._check(case, grid, modality)
        if case.label is None:
            return dict(spacing=grid.spacing, modality=modality, counts={})
        label, label_grid = self._label(case)
        remark = check_same_grid((case.name, grid), (case.label, label_grid))
        return dict(spacing=grid.spacing, modality=modality, counts=count_classes(label), remark=remark)

    def _check_spacings(self, spacings: Sequence[tuple[float, ...]]) -> None:
        if self.wanted_spacing is not None:
            resample.warn_of_turned_spacing(self.wanted_spacing, spacings)
            return
        for case, spacing in zip(self.cases, spacings, strict=True):
            if not np.allclose(spacing, spacings[0], rtol=SPACING_TOLERANCE, atol=0):
                shown = [" x ".join(f"{s:.4g}" for s in values) for values in (spacing, spacings[0])]
                raise ValueError(
                    f"the voxels of {case.name} are {shown[0]} mm and those of {self.cases[0].name} {shown[1]} mm; "
                    "set spacing, to which all are then resampled, such as spacing=(2.0, 1.5, 1.5)"
                )

    def _prepared(self, case: Case) -> Arrays:
        return self._kept(case, ["all", self.normalization], lambda: self._prepare(case))

    def _kept(self, case: Case, what: list, make: Callable[[], Arrays]) -> Arrays:
        """What `make` makes, from the cache where there is one; `what` and the label's options say what that is."""
        return make() if self.cache is None else self.cache.load(case.files, [*what, self._label_options], make)

    @property
    def _label_options(self) -> str:
        """All that decides what is found in a case's label, and what is made of it."""
        return repr((PREPARED, self.wanted_spacing, self.read, self.label_values, self.ignored_value, self.expected))

    def _prepare(self, case: Case) -> Arrays:
        """Read, check, normalise and resample: image, label, and the scan's own size and affine."""
        volume = open_volume(case.images if len(case.images) > 1 else case.images[0], options=self.read)
        self._check(case, volume.grid, volume.modalities)
        options = dict(normalize=self.normalize, spacing=self.wanted_spacing)
        image = resample.prepare_image(volume.image, volume.grid, **options)
        arrays = dict(image=image, size=np.array(volume.grid.size), affine=volume.grid.affine)
        if case.label is not None:
            label, label_grid = self._label(case, volume)
            check_same_grid((case.name, volume.grid), (case.label, label_grid))
            arrays["label"] = resample.resample_label(label, resample.working_size(volume.grid, self.wanted_spacing))
            arrays["foreground"] = foreground_voxels(arrays["label"], self.num_classes)
        return arrays

    def _check(self, case: Case, grid: Grid, modality: Sequence[str]) -> None:
        if len(modality) != self.image_channels:
            raise ValueError(f"{case.name} has {len(modality)} channels, and this set has {self.image_channels}")
        check_modality(case.name, modality, self.expected, who="this set")
        limits = dict(spacing=self.wanted_spacing, max_bytes=self.read.max_bytes)
        resample.check_memory(case.name, grid, channels=self.image_channels, **limits)

    def _sample(self, case: Case, arrays: Arrays, **parts: np.ndarray | None) -> Sample:
        own = Grid(tuple(arrays["size"].tolist()), np.asarray(arrays["affine"]))
        grid = resample.resampled_grid(own, arrays["image"].shape[1:])
        return Sample(image=arrays["image"], grid=grid, meta=dict(image=case.name, label=case.label), **parts)

    def _label(self, case: Case, volume: Volume | None = None) -> tuple[np.ndarray, Grid]:
        """Class numbers uint8 (D, H, W) on the scan's own grid."""
        known = dict(classes=self.classes, label_values=self.label_values, ignored_value=self.ignored_value)
        return read_case_label(case, options=self.read, volume=volume, **known)
