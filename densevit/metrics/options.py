"""What is measured of two label maps, by names, and how."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

from densevit.metrics import distances as mm
from densevit.metrics.lesions import LesionOptions, LesionScores

VOXELS: dict[str, Callable[[mm.Distances], float]] = {
    "hd": mm.hd,
    "hd95_max": mm.hd95_max,
    "hd95_pooled": mm.hd95_pooled,
    "assd": mm.assd,
    "masd": mm.masd,
    "rmsd": mm.rmsd,
}
VOXELS_WITHIN = {"nsd_voxel": mm.nsd, "boundary_f": mm.boundary_f}
SURFELS = {"hd95_surfel": mm.hd95_surfel}
SURFELS_WITHIN = {"nsd_surfel": mm.nsd}
LESIONS: dict[str, Callable[[LesionScores], float]] = {
    "lesion_dice": lambda scores: scores.dice,
    "lesion_hd95": lambda scores: scores.hd95,
    "lesion_f1": lambda scores: scores.f1,
    "pq": lambda scores: scores.panoptic_quality,
    "sq": lambda scores: scores.segmentation_quality,
    "rq": lambda scores: scores.recognition_quality,
}
CHOICES = (*VOXELS, *VOXELS_WITHIN, *SURFELS, *SURFELS_WITHIN, "boundary_iou", "cldice", *LESIONS)


@dataclass(frozen=True)
class MeasureOptions:
    """What is measured, and how. Metrics from counts (Dice, IoU, ...) cost nothing and are always there.

    `tolerances` are in mm and stand behind the name: `nsd_voxel@2`. `boundary_width` is in mm; None is that of the
    paper on boundary IoU, 2 % of the image's diagonal in pixels. `include_background` measures class 0 of a sequence.
    """

    metrics: tuple[str, ...] = ("hd95_max", "assd", "nsd_voxel")
    tolerances: tuple[float, ...] = (2.0,)
    ignore_index: int = 255
    include_background: bool = False
    connectivity: int = 1
    edge_is_border: bool = True
    ignored_is_border: bool = False
    boundary_width: float | None = None
    lesions: LesionOptions = field(default_factory=LesionOptions)

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in CHOICES]
        if unknown:
            raise ValueError(f"no metric {', '.join(unknown)}; choose from {', '.join(CHOICES)}")
        if self.connectivity < 1 or not all(0 <= t < inf for t in self.tolerances):
            raise ValueError(
                f"connectivity must be 1 or more and tolerances 0 mm or more, "
                f"got {self.connectivity} and {self.tolerances}"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what is measured of masks, with the tolerances."""
        within = {*VOXELS_WITHIN, *SURFELS_WITHIN}
        names = [[f"{n}@{t:g}" for t in self.tolerances] if n in within else [n] for n in dict.fromkeys(self.metrics)]
        return tuple(name for part in names for name in part)

    def width_in(self, shape: Sequence[int]) -> float:
        """The width of a boundary's band in an array of this shape, in pixels where `boundary_width` is None."""
        diagonal = sum(n**2 for n in shape) ** 0.5
        return max(1, round(0.02 * diagonal)) if self.boundary_width is None else self.boundary_width
