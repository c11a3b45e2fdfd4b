"""What a mean does with structures that are missed, false or absent: ours, and what other tools do, by their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isnan, nan

from densevit.metrics.lesions import LesionOptions
from densevit.metrics.options import MeasureOptions
from densevit.metrics.records import Kind, Record, kind_of

AS_MEASURED, WORST = "as measured", "worst"


@dataclass(frozen=True)
class Fill:
    """What counts where a structure is missed, false, misplaced, or absent from prediction and truth: a number, nan to
    leave the case out, AS_MEASURED, or WORST, the worst value of the metric."""

    missed: float | str = WORST
    false: float | str = WORST
    absent: float | str = nan
    misplaced: float | str = AS_MEASURED


@dataclass(frozen=True)
class Policy:
    """A tool's treatment of empty masks, its order of means, and the options with which `measure` gives its numbers.

    `fills` is by the name of a metric's kind, or of the one that it is like; `other` is for the kinds not named. The
    mean over structures is that of the means over cases (`over` "structures"), or the mean over cases of the mean over
    structures ("cases"). If `needs_all`, one structure without a value makes it nan; `nothing` is the mean of none.
    """

    name: str
    fills: Mapping[str, Fill] = field(default_factory=dict)
    other: Fill = Fill()
    levels: tuple[str, ...] = ("case", "set")
    over: str = "structures"
    needs_all: bool = False
    nothing: float = nan
    options: MeasureOptions = field(default_factory=MeasureOptions)

    def value(self, record: Record, column: str, *, worst: float) -> float:
        """What counts for this record; `worst` is the distance of a missed structure, in mm."""
        return self.fill(record.values[column], record.status, kind_of(column), worst=worst)

    def fill(self, measured: float, status: str, kind: Kind, *, worst: float = inf) -> float:
        """The same of a measured value of a structure that is `found`, `missed`, ..."""
        fill = self.fills.get(kind.name, self.fills.get(kind.like, self.other))
        chosen = AS_MEASURED if status == "found" else getattr(fill, status)
        if chosen == AS_MEASURED and isnan(measured):
            nothing_to_score = "lesion" in kind.name
            chosen = fill.absent if nothing_to_score else fill.missed if fill.missed == WORST else nan
        if chosen == WORST:
            return worst if kind.worst == inf else kind.worst
        return measured if chosen == AS_MEASURED else float(chosen)

    def mean(self, values: Sequence[float]) -> float:
        """Of the values that are not nan."""
        kept = [value for value in values if not isnan(value)]
        return sum(kept) / len(kept) if kept else self.nothing

    def mean_over_structures(self, means: Sequence[float]) -> float:
        """Of the structures' means, which are nan where a structure has no value."""
        return nan if self.needs_all and any(map(isnan, means)) else self.mean(means)


LEFT_OUT = Fill(nan, nan, nan, AS_MEASURED)
MEASURED = Fill(AS_MEASURED, AS_MEASURED, nan)
POLICIES = {
    policy.name: policy
    for policy in (
        Policy("honest", fills={"recall": Fill(false=nan)}),  # there is nothing that could be found
        Policy(
            "nnunet",
            fills={"overlap": MEASURED},
            other=LEFT_OUT,
            levels=("case",),
            needs_all=True,
            options=MeasureOptions(metrics=()),
        ),
        Policy(
            "monai",
            fills={
                "overlap": Fill(AS_MEASURED, nan, nan),
                "surface": Fill(0.0, 0.0, nan),
                "average": Fill(inf, inf, nan),
            },
            other=LEFT_OUT,
            levels=("case",),
            over="cases",
            nothing=0.0,
            options=MeasureOptions(ignored_is_border=True),
        ),
        Policy(
            "brats2023",
            fills={
                "overlap": Fill(0.0, 0.0, 1.0),
                "hausdorff": Fill(374.0, 374.0, 0.0),
                "lesion": Fill(AS_MEASURED, AS_MEASURED, 1.0),
                "lesion distance": Fill(AS_MEASURED, AS_MEASURED, 0.0),
            },
            other=LEFT_OUT,
            levels=("case",),
            options=MeasureOptions(
                metrics=("hd95_surfel", "lesion_dice", "lesion_hd95"),
                lesions=LesionOptions(dilation=3, min_volume=50, penalty=374),
            ),
        ),
        Policy("chaos", levels=("case",), options=MeasureOptions(metrics=("assd", "hd"), edge_is_border=False)),
        Policy(
            "cityscapes",
            other=MEASURED,
            levels=("set",),
            options=MeasureOptions(metrics=(), include_background=True),
        ),
        Policy(
            "mmseg",
            fills={"fscore": Fill(nan, nan, nan, nan)},
            other=MEASURED,
            levels=("set",),
            options=MeasureOptions(metrics=(), include_background=True),
        ),
    )
}
