"""MONAI's random intensity transforms by name, seeded by the draw: those that leave every voxel where it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densevit.data.augment.probe import SEEDS, check_changes, find_transform

# A base class, and two that draw numbers which no seed reaches (MONAI 1.6.1).
_LEFT_OUT = {"RandCoarseTransform", "IntensityRemap", "RandIntensityRemap"}


class IntensityChain:
    """(image float32 (C, *S), seed) -> the same size: transforms in order, on the image's device, perhaps in place.

    Each entry is dict(type="RandGaussianNoise", prob=0.15, std=0.3): a random intensity transform of MONAI and its
    arguments. With per_channel=True every channel is changed or left by chance of its own. ValueError for a name or
    an argument that MONAI does not have, and for what it refuses.
    """

    def __init__(self, entries: Sequence[Mapping[str, Any]]):
        self.steps = [_create(entry) for entry in entries]

    def __call__(self, image: Tensor, *, seed: int) -> Tensor:
        rng = np.random.default_rng(seed)
        for transform, per_channel in self.steps:
            parts = image.split(1) if per_channel else (image,)
            done = [_apply(transform, part, seed=int(rng.integers(1 << 32))) for part in parts]
            image = done[0] if len(done) == 1 else torch.cat(done)
        return image


def _apply(transform: Any, image: Tensor, *, seed: int) -> Tensor:
    changed = transform.set_random_state(seed=seed)(image)
    # MONAI returns its own kind of tensor, which is slow and which a loader cannot stack with plain ones.
    return changed.as_subclass(torch.Tensor).to(torch.float32)


def _create(entry: Mapping[str, Any]) -> tuple[Any, bool]:
    what = "MONAI has no random intensity transform named"
    kind, options = find_transform(entry, _known_transforms(), what=what, ours=["per_channel"])
    name, per_channel = kind.__name__, options.pop("per_channel", False)
    try:
        transform = kind(**options)
        _try(name, transform)
    except (TypeError, ValueError, RuntimeError) as error:
        if str(error).startswith("augment.extra: "):
            raise
        raise ValueError(f"augment.extra: {name} cannot be made of {options}: {' '.join(str(error).split())}") from None
    return transform, bool(per_channel)


def _try(name: str, transform: Any) -> None:
    """Use it on noise before training starts."""
    prob, transform.prob = transform.prob, 1.0
    noise = np.random.default_rng(0).standard_normal((2, 16, 16, 16), dtype=np.float32)
    changed = [transform.set_random_state(seed=seed)(torch.from_numpy(noise.copy())) for seed in SEEDS]
    trials = [[each.as_subclass(torch.Tensor).numpy()] for each in changed]
    check_changes(name, [noise], trials=trials, every_time=prob >= 1)
    transform.prob = prob


def _known_transforms() -> dict[str, type]:
    try:
        from monai.transforms import RandomizableTransform, RandSimulateLowResolution
        from monai.transforms.intensity import array
    except ImportError:
        raise ValueError("augment.extra needs MONAI; pip install 'densevit[medical]' brings it") from None
    kinds = {name: getattr(array, name) for name in array.__all__}
    random = {name: kind for name, kind in kinds.items() if issubclass(kind, RandomizableTransform)}
    random["RandSimulateLowResolution"] = RandSimulateLowResolution  # among the spatial ones, but it moves nothing
    return {name: kind for name, kind in random.items() if name not in _LEFT_OUT}
