"""The keys of `augment` in a config for clips: those of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

from densevit.data.augment.options import NO_SIDES, AugmentOptions
from densevit.data.dataset import Augment
from densevit.sides import Sides


@dataclass(frozen=True, kw_only=True)
class ClipAugmentOptions(AugmentOptions):
    """The same changes for all frames of a clip; `photometric` and `crop_size` are of each frame."""

    def create(self, *, fill: Sequence[float], sides: Sides = NO_SIDES) -> Augment:
        from densevit.data.augment.clip_2d import ClipAugment

        return ClipAugment(self, fill=fill, sides=sides)
