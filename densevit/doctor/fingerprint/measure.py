"""What a set of scans is like: every case read once, its grid, intensities and classes written down.

The idea of nnU-Net's fingerprint, https://doi.org/10.1038/s41592-020-01008-z.
Legend: image (C, D, H, W), label (D, H, W).
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from densevit.data.case import Case, read_case_label
from densevit.data.dataset import check_dataset_config
from densevit.data.layouts.volume_layout import Listing, VolumeLayout, choose_cases
from densevit.labels import IGNORE
from densevit.options import read_options
from densevit.volumes.grid import check_same_grid
from densevit.volumes.modality import check_modality, modality_of_name
from densevit.volumes.volume import ReadOptions, open_volume

PERCENTILES = (0.5, 50.0, 99.5)
SAMPLED = 10_000_000  # foreground voxels of all cases together, from which the set's percentiles are taken
MOST_OF_A_CASE = 200_000


@dataclass(frozen=True, kw_only=True)
class ChannelFacts:
    """Of all voxels of one channel: the range, `PERCENTILES`, whether all are whole numbers, the share of zeros; and
    what its file says that it is (`densevit.volumes.modality`).
    """

    low: float
    high: float
    percentiles: tuple[float, ...]
    whole: bool
    zeros: float
    modality: str = ""


@dataclass(frozen=True, kw_only=True)
class CaseFacts:
    """Of one case: size (D, H, W), spacing in mm, voxels of each class, and a sample (C, n) of its foreground.

    `voxel_volume` is mm3, of sheared voxels too; `remark` what is to be said of its label's place.
    """

    name: str
    trained: bool
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    voxel_volume: float
    voxels: tuple[int, ...]
    channels: tuple[ChannelFacts, ...]
    sample: np.ndarray
    remark: str | None = None

    @property
    def milliliters(self) -> tuple[float, ...]:
        """Of each class."""
        return tuple(count * self.voxel_volume / 1000 for count in self.voxels)


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Of a set: what its cases are like, and those that `failed`, with the reason."""

    dataset: dict[str, Any]
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    cases: tuple[CaseFacts, ...]
    failed: dict[str, str]

    @property
    def trained(self) -> tuple[CaseFacts, ...]:
        """The cases whose numbers a config may use; validation is to know nothing of its own."""
        return tuple(case for case in self.cases if case.trained)

    def foreground(self, channel: int) -> np.ndarray:
        """Sampled intensities of all classes but the first, of the cases to train on; (n,)."""
        return np.concatenate([case.sample[channel] for case in self.trained])


def take_fingerprint(
    config: Mapping[str, Any], *, workers: int = 4, progress: Callable[[int, int], None] | None = None
) -> Fingerprint:
    """Read every labelled case of the set that `config` describes; cases that cannot be read are listed, not raised.

    `progress(done, total)` is called after each case. ValueError for a set without labels, or none that can be read.
    """
    layout = check_dataset_config(config)
    if not isinstance(layout, VolumeLayout):
        raise ValueError(f"a fingerprint is of volumes, and the dataset {config['type']!r} holds pictures")
    listing = layout.listing().without(layout.leave_out)
    trained = choose_cases(listing, layout)
    cases = {name: case for name, case in listing.labelled.items() if case.label is not None}
    if not cases:
        raise ValueError(f"{listing.said_by} has no case with a label, and a fingerprint needs labels")
    measure = partial(_try_case, cases, listing=listing, layout=layout)
    facts, failed = [], {}
    with ThreadPoolExecutor(workers) as pool:
        for done, (name, found) in enumerate(zip(cases, pool.map(measure, cases), strict=True), start=1):
            if isinstance(found, str):
                failed[name] = found
            else:
                facts.append(found)
            if progress is not None:
                progress(done, len(cases))
    if failed:  # which are left out of the config: of the others each n-th may be another
        try:
            trained = choose_cases(listing.without(list(failed)), layout)
        except ValueError:
            raise ValueError(
                f"too few cases can be read; the first that cannot: {next(iter(failed.values()))}"
            ) from None
    return Fingerprint(
        dataset=dict(config),
        classes=tuple(listing.labels.classes),
        channels=tuple(listing.channels),
        cases=tuple(replace(case, trained=case.name in trained) for case in facts),
        failed=failed,
    )


def _try_case(cases: Mapping[str, Case], name: str, *, listing: Listing, layout: VolumeLayout) -> CaseFacts | str:
    """The facts of a case, or why there are none."""
    try:
        seed = sorted(cases).index(name)
        most = min(MOST_OF_A_CASE, max(1, SAMPLED // len(cases)))
        rng = np.random.Generator(np.random.Philox(key=[0, seed]))
        return _measure(cases[name], name, listing=listing, layout=layout, pick=(rng, most))
    except (OSError, ValueError, MemoryError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        return text if cases[name].images[0] in text or str(cases[name].label) in text else f"{name}: {text}"


def _measure(
    case: Case,
    name: str,
    *,
    listing: Listing,
    layout: VolumeLayout,
    pick: tuple[np.random.Generator, int],
) -> CaseFacts:
    options = read_options(ReadOptions, layout.read or {}, where="read")
    volume = open_volume(case.images, options=options)
    if len(volume.image) != len(listing.channels):
        raise ValueError(f"{case.images[0]} has {len(volume.image)} channels, and {len(listing.channels)} are expected")
    check_modality(case.images[0], volume.modalities, tuple(map(modality_of_name, listing.channels)), who="this set")
    known = listing.labels
    meaning = dict(classes=known.classes, label_values=known.values, ignored_value=known.ignored)
    label, label_grid = read_case_label(case, options=options, volume=volume, **meaning)
    remark = check_same_grid((case.images[0], volume.grid), (case.label, label_grid))
    return CaseFacts(
        name=name,
        remark=remark,
        trained=False,  # decided when all are read
        size=volume.grid.size,
        spacing=volume.grid.spacing,
        voxel_volume=volume.grid.voxel_volume,
        voxels=tuple(np.bincount(label.ravel(), minlength=IGNORE + 1)[: len(known.classes)].tolist()),
        channels=tuple(map(_measure_channel, volume.image, volume.modalities)),
        sample=_sample(volume.image, label, *pick),
    )


def _measure_channel(channel: np.ndarray, modality: str) -> ChannelFacts:
    return ChannelFacts(
        low=float(channel.min()),
        high=float(channel.max()),
        percentiles=tuple(np.percentile(channel, PERCENTILES).tolist()),
        whole=bool((channel == np.round(channel)).all()),
        zeros=1 - int(np.count_nonzero(channel)) / channel.size,
        modality=modality,
    )


def _sample(image: np.ndarray, label: np.ndarray, rng: np.random.Generator, most: int) -> np.ndarray:
    """(C, n) of at most `most` voxels that are of a class other than the first."""
    voxels = np.flatnonzero((label > 0) & (label != IGNORE))
    if len(voxels) > most:
        voxels = rng.choice(voxels, most, replace=False)
    return image.reshape(len(image), -1)[:, voxels]


def median_of(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """By column."""
    return tuple(np.median(np.array(rows, float), axis=0).tolist())
