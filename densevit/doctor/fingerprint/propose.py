"""From a fingerprint to the numbers of a recipe: docs/fingerprint.md has the rules.

Those of spacing, crop and batch follow nnU-Net's (https://doi.org/10.1038/s41592-020-01008-z), in words of our own.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod
from typing import Any

import numpy as np
import torch
from torch import nn

from densevit.doctor.fingerprint.measure import CaseFacts, ChannelFacts, Fingerprint, median_of
from densevit.doctor.fingerprint.memory import TrainingMemory, training_memory
from densevit.normalization import ZSCORE
from densevit.segmentor import create_segmentor
from densevit.sides import read_sides
from densevit.texts import format_bytes
from densevit.volumes.modality import modality_of_name
from densevit.weights import family_of

ANISOTROPIC = 3.0  # slices that are this many times as thick as voxels are wide, and as much fewer
CUBE = 256  # voxels an axis: the largest crop, as a volume
AT_LEAST, AT_MOST = 2, 8  # crops in a batch
SHARE_OF_SET = 0.05  # of all voxels to train on, that a batch of more than AT_LEAST crops may hold
UNNAMED = re.compile(r"image|channel \d+|\d+|.*[*].*")  # names of channels that the set has not given
AIR = (-5000, -800)  # HU: what the lowest value of a CT lies between; some scanners fill corners with -3024
SKULL_STRIPPED = 0.25  # share of voxels that are exactly 0
Size = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The numbers; `size` is the median case at `spacing`, `bytes` what training is estimated to take.

    `thick` is the axis along which the scans have slices too thick to be turned into the others, `ct` says which
    channels are in Hounsfield units.
    """

    spacing: tuple[float, ...]
    anisotropic: bool
    thick: int | None
    size: Size
    crop_size: Size
    batch_size: int
    bytes: int
    model: dict[str, Any]
    normalization: dict[str, Any]
    ct: tuple[bool, ...]
    no_decay: tuple[str, ...]
    left_and_right: bool
    foreground: float


def propose(
    found: Fingerprint, *, max_bytes: int, backbone: str = "swin_unetr_tiny", decoder: str = "unetr"
) -> Proposal:
    """A recipe for the set within `max_bytes`; ValueError where not even the smallest crop fits."""
    spacing, anisotropic = target_spacing(found.trained)
    sizes = [working(case, spacing) for case in found.trained]
    size = tuple(max(1, round(n)) for n in median_of(sizes))
    base = dict(backbone=backbone, decoder=decoder, num_classes=len(found.classes), in_channels=len(found.channels))
    planner = ModelPlanner(dict(base, spatial_dims=3))
    crop, batch = plan_crop(size, spacing, planner, max_bytes=max_bytes, voxels=sum(prod(working) for working in sizes))
    return Proposal(
        spacing=spacing,
        anisotropic=anisotropic,
        thick=thick_axis(median_of([case.spacing for case in found.trained])),
        size=size,
        crop_size=crop,
        batch_size=batch,
        bytes=planner.memory(crop).of(batch),
        model=planner.config(crop),
        normalization=normalization_of_set(found),
        ct=ct_channels(found),
        no_decay=planner.no_decay(crop),
        left_and_right=read_sides(found.classes).any,
        foreground=0.7 if share_of_foreground(found.trained) < 0.01 else 0.5,
    )


def target_spacing(cases: Sequence[CaseFacts]) -> tuple[tuple[float, ...], bool]:
    """The median by axis (D, H, W), and whether one axis is strongly anisotropic.

    Such an axis gets the 10th percentile of its spacings, so that most cases keep all of their slices, but no finer
    voxels than the other axes.
    """
    spacings = np.array([case.spacing for case in cases])
    target, size = np.median(spacings, axis=0), np.median(np.array([case.size for case in cases]), axis=0)
    worst = int(target.argmax())
    others = [axis for axis in range(3) if axis != worst]
    coarse = target[worst] > ANISOTROPIC * target[others].max()
    anisotropic = bool(coarse and size[worst] * ANISOTROPIC < size[others].min())
    if anisotropic:
        target[worst] = max(np.percentile(spacings[:, worst], 10), target[others].max())
    return tuple(float(f"{value:.5g}") for value in target), anisotropic


def thick_axis(spacing: Sequence[float]) -> int | None:
    """The axis whose voxels are over ANISOTROPIC times as long as those of each other axis."""
    longest, second = sorted(range(3), key=lambda axis: -spacing[axis])[:2]
    return longest if spacing[longest] > ANISOTROPIC * spacing[second] else None


def working(case: CaseFacts, spacing: Sequence[float]) -> tuple[float, ...]:
    """Voxels of a case at `spacing`, not rounded."""
    return tuple(n * s / t for n, s, t in zip(case.size, case.spacing, spacing, strict=True))


class ModelPlanner:
    """What a model needs for crops of a size: its options, and memory; `config` is `create_segmentor`'s arguments."""

    def __init__(self, base: Mapping[str, Any]):
        self.base = dict(base)
        self.memory = lru_cache(maxsize=None)(self._memory)

    def config(self, crop: Size) -> dict[str, Any]:
        """With the options that suit the backbone on crops of this size, such as the size of its position table."""
        options = family_of(self.base["backbone"]).crop_options(crop)
        return self.base | (dict(backbone_options=options) if options else {})

    def model(self, crop: Size) -> nn.Module:
        """On the meta device."""
        with torch.device("meta"):
            return create_segmentor(**self.config(crop)).train()

    def steps(self) -> Size:
        """What sizes of crops are multiples of: the model's divisor; without one, a quarter of its coarsest stride."""
        model = self.model((64, 64, 64))
        strides = [np.broadcast_to(stride, 3) for stride in getattr(model.backbone, "out_strides", (32,))]
        coarsest, finest = np.max(strides, axis=0), np.min(strides, axis=0)
        free = np.where(coarsest > finest, np.maximum(coarsest // 4, finest), coarsest)
        return tuple(int(max(d if d > 1 else f, 1)) for d, f in zip(model.divisor, free, strict=True))

    def no_decay(self, crop: Size) -> tuple[str, ...]:
        """Norms, and tables such as those of positions."""
        names = [name for name, _ in self.model(crop).named_parameters()]
        tables = {name.rpartition(".")[2] for name in names if not name.endswith((".weight", ".bias"))}
        return ("norm", *sorted(tables))

    def _memory(self, crop: Size) -> TrainingMemory:
        return training_memory(self.model(crop), crop)


def plan_crop(
    size: Size, spacing: Sequence[float], planner: ModelPlanner, *, max_bytes: int, voxels: float
) -> tuple[Size, int]:
    """Crop size and batch size: as much of the median case as fits with two crops, then more crops.

    The first try is a cube in mm of CUBE ** 3 voxels, or the median case where that is smaller; then the axis of which
    the crop sees the largest part is shortened.
    """
    steps = planner.steps()
    side = CUBE * prod(spacing) ** (1 / 3)
    wanted = [min(n, side / mm) for n, mm in zip(size, spacing, strict=True)]
    crop = tuple(step * max(1, ceil(n / step - 1e-6)) for n, step in zip(wanted, steps, strict=True))
    fits = _fits(planner, max_bytes)
    smallest = steps
    while not fits(crop, AT_LEAST) and crop != smallest:
        parts = [n / m if n > step else 0 for n, m, step in zip(crop, size, steps, strict=True)]
        axis = int(np.argmax(parts))
        crop = tuple(n - steps[i] if i == axis else n for i, n in enumerate(crop))
    batch = next((count for count in (AT_LEAST, 1) if fits(crop, count)), None)
    if batch is None:
        raise ValueError(
            f"training takes {format_bytes(planner.memory(crop).of(1))} at least, with one crop of "
            f"{' x '.join(map(str, crop))}, and {format_bytes(max_bytes)} are given; give more, or a smaller model"
        )
    while batch >= AT_LEAST and batch < AT_MOST and fits(crop, batch + 1):
        if (batch + 1) * prod(crop) > SHARE_OF_SET * voxels:
            break
        batch += 1
    return crop, batch


def _fits(planner: ModelPlanner, max_bytes: int) -> Callable[[Size, int], bool]:
    probe = tuple(step * ceil(32 / step) for step in planner.steps())

    def fits(crop: Size, batch: int) -> bool:
        known = planner.memory(probe)
        if known.a_crop * batch * prod(crop) / prod(probe) > 4 * max_bytes:
            return False  # far from it: not worth the trial
        return planner.memory(crop).of(batch) <= max_bytes

    return fits


def ct_channels(found: Fingerprint) -> tuple[bool, ...]:
    """Which channels are in Hounsfield units: by what the files say, by their names, or by their values."""
    return tuple(_is_ct(found, index, name) for index, name in enumerate(found.channels))


def _is_ct(found: Fingerprint, channel: int, name: str) -> bool:
    said = {case.channels[channel].modality for case in found.trained} - {""}
    if said or modality_of_name(name):
        return (said or {modality_of_name(name)}) == {"CT"}
    return bool(UNNAMED.fullmatch(name)) and looks_like_hu(found, channel)


def looks_like_hu(found: Fingerprint, channel: int) -> bool:
    """Whether nearly all cases have whole numbers that begin at air's and reach bone's."""
    facts: list[ChannelFacts] = [case.channels[channel] for case in found.trained]
    hits = [AIR[0] <= each.low <= AIR[1] and 100 <= each.high < 40000 and each.whole for each in facts]
    return bool(np.mean(hits) >= 0.8)


def normalization_of_set(found: Fingerprint) -> dict[str, Any]:
    """CT: clipped to the set's foreground percentiles, less its mean, over its deviation. Others: by case.

    Channels of several kinds have one each.
    """
    each = [_normalization(found, channel, ct=ct) for channel, ct in enumerate(ct_channels(found))]
    alike = all(one == each[0] and one["type"] == "zscore" for one in each)
    return each[0] if alike or len(each) == 1 else dict(type="by_channel", channels=each)


def _normalization(found: Fingerprint, channel: int, *, ct: bool) -> dict[str, Any]:
    values = found.foreground(channel)
    if ct and values.size and values.std() > 0:
        low, high = np.percentile(values, (0.5, 99.5))
        numbers = dict(low=low, high=high, mean=values.mean(dtype=float), std=values.std(dtype=float))
        return dict(type="ct", **{key: round(float(value), 2) for key, value in numbers.items()})
    is_stripped = np.median([case.channels[channel].zeros for case in found.trained]) > SKULL_STRIPPED
    return dict(ZSCORE, nonzero=True) if is_stripped else dict(ZSCORE)


def share_of_foreground(cases: Sequence[CaseFacts]) -> float:
    """Of all voxels."""
    return sum(sum(case.voxels[1:]) for case in cases) / sum(sum(case.voxels) for case in cases)
