"""The keys of `augment` where a network learns from several views of each image, without labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from densevit.data.augment.options import VolumeAugmentOptions
from densevit.data.views import MultiCrop
from densevit.options import check_range


@dataclass(frozen=True, kw_only=True)
class MultiCropOptions:
    """Two large views of each picture and `num_locals` small ones (https://arxiv.org/abs/2104.14294).

    global_size, local_size: (height, width) of what comes out. global_area, local_area: the part of the picture that a
        view shows. ratio: its width by its height before it is resized.
    flip: probability of a horizontal flip.
    jitter: largest changes of brightness, contrast, saturation and hue, with probability `jitter_prob`; grey: that of
        no colour at all. blur, solarise: probabilities for the first, the second and the small views.
    colors: whether jitter, grey and solarise are used; they are for 8-bit RGB. None: where pictures are such.
    """

    global_size: tuple[int, int] = (224, 224)
    local_size: tuple[int, int] = (96, 96)
    num_locals: int = 8
    global_area: tuple[float, float] = (0.4, 1.0)
    local_area: tuple[float, float] = (0.05, 0.4)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    jitter_prob: float = 0.8
    grey: float = 0.2
    blur: tuple[float, float, float] = (1.0, 0.1, 0.5)
    solarise: tuple[float, float, float] = (0.0, 0.2, 0.0)
    colors: bool | None = None

    def __post_init__(self) -> None:
        check_range(self, ["global_size", "local_size"], least=1)
        check_range(self, ["num_locals"], least=0)
        check_range(self, ["global_area", "local_area", "flip", "jitter_prob", "grey"], least=0, most=1)
        check_range(self, ["blur", "solarise"], least=0, most=1)
        for name in ("global_area", "local_area", "ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be a range (low, high) above 0, got {(low, high)}")
        if not min(self.jitter) >= 0 or self.jitter[3] > 0.5:
            raise ValueError(f"jitter must be four numbers of at least 0, hue at most 0.5, got {self.jitter}")

    @cached_property
    def sizes(self) -> list[tuple[int, ...]]:
        """Of each view, the two large ones first."""
        return [self.global_size] * 2 + [self.local_size] * self.num_locals

    def create(self, *, fill: Sequence[float] = (0.0,)) -> MultiCrop:
        from densevit.data.augment.multi_crop import MultiCrop2D  # here, for it brings albumentations

        return MultiCrop2D(self)


@dataclass(frozen=True, kw_only=True)
class VolumeMultiCropOptions:
    """Two large views of each volume and `num_locals` small ones.

    global_view, local_view: how they are made, by the keys of the augmentation of volumes (docs/augment_3d.md); crops
        are from anywhere. A `scale` above 1 shows less at a higher resolution.
    """

    global_view: VolumeAugmentOptions
    local_view: VolumeAugmentOptions
    num_locals: int = 4

    def __post_init__(self) -> None:
        check_range(self, ["num_locals"], least=0)

    @cached_property
    def sizes(self) -> list[tuple[int, ...]]:
        """Of each view, the two large ones first."""
        return [self.global_view.crop_size] * 2 + [self.local_view.crop_size] * self.num_locals

    def create(self, *, fill: Sequence[float] = (0.0,)) -> MultiCrop:
        from densevit.data.augment.multi_crop import MultiCrop3D

        return MultiCrop3D(self, fill=fill)


MULTI_CROPS = {2: MultiCropOptions, 3: VolumeMultiCropOptions}
AnyMultiCrop = MultiCropOptions | VolumeMultiCropOptions
