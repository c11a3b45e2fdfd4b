"""Slices to a stack: in order, and refused, with the file's name, where they are no regular one."""

import logging
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from densevit.volumes.formats.dicom_slices import Slice
from densevit.volumes.read_options import ReadOptions

logger = logging.getLogger("densevit")
SAME_DIRECTION = 1e-3  # between unit vectors
SAME_PLACE = 1e-3  # mm
LEFT_POSTERIOR = np.diag([-1.0, -1, 1, 1])  # from DICOM's axes to right, anterior, superior, and back
TILT = 0.01  # of a stack's height: how far its last slice may lie beside the line through its first


def stack_slices(path: Path, slices: Sequence[Slice], *, options: ReadOptions) -> tuple[list[Slice], np.ndarray]:
    """The slices along their normal, and the affine (4, 4) of (column, row, slice) to mm right, anterior, superior."""
    _check_alike(path, slices)
    normal = slices[0].normal
    ordered = sorted(slices, key=lambda each: float(each.position @ normal))
    _check_places(path, ordered)
    if _worst(ordered)[1] > _tolerance(ordered):
        run = _longest_run(ordered)
        if options.on_missing == "error" or len(run) < 2:
            raise ValueError(_irregular(path, ordered, len(run)))
        logger.warning("%s: %d of %d slices are read, from %s to %s", path, len(run), len(ordered), run[0], run[-1])
        ordered = run
    step = _step(ordered)
    height = float(step @ normal)
    beside = np.linalg.norm(step - height * normal)
    if beside > TILT * height and not options.allow_gantry_tilt:
        raise ValueError(
            f"{path} was taken with a tilted gantry, by {np.degrees(np.arctan2(beside, height)):.3g} degrees: "
            f"{ordered[-1]} lies {beside * (len(ordered) - 1):.3g} mm beside the normal of the first slice; "
            "allow_gantry_tilt keeps the sheared grid, and the network sees it unsheared"
        )
    first = ordered[0]
    affine = np.eye(4)
    affine[:3, :3] = np.stack([first.axes[0] * first.spacing[1], first.axes[1] * first.spacing[0], step], axis=1)
    affine[:3, 3] = first.position
    return ordered, LEFT_POSTERIOR @ affine


def _check_alike(path: Path, slices: Sequence[Slice]) -> None:
    """All slices have the size, pixels, direction and space of most of them."""
    for what, of in (
        ("rows and columns", lambda s: s.shape),
        ("directions of rows and columns", lambda s: tuple((s.axes.round(3) + 0.0).ravel().tolist())),
        ("millimetres between pixels", lambda s: tuple(np.round(s.spacing, 4).tolist())),
        ("frame of reference", lambda s: s.space),
    ):
        usual = Counter(map(of, slices)).most_common(1)[0][0]
        model = next(each for each in slices if of(each) == usual)
        for each in slices:
            near = np.abs(each.axes - model.axes).max() <= SAME_DIRECTION
            if of(each) != usual and not (what.startswith("directions") and near):
                raise ValueError(
                    f"{each} does not belong to the other slices of {path}: its {what} are {of(each)}, theirs {usual}; "
                    "take it out of the folder"
                )


def _check_places(path: Path, ordered: Sequence[Slice]) -> None:
    """No two slices lie at one place."""
    along = np.array([each.position @ each.normal for each in ordered])
    same = np.flatnonzero(np.diff(along) < SAME_PLACE)
    if len(same):
        one, other = ordered[same[0]], ordered[same[0] + 1]
        differ = [name for name in one.phase if one.phase[name] != other.phase.get(name)]
        why = f", which differ in {differ[0]} ({one.phase[differ[0]]}, {other.phase.get(differ[0])})" if differ else ""
        raise ValueError(
            f"{path} holds several slices at one position, such as {one} and {other}{why}: of {len(ordered)} slices, "
            f"{len(same)} are too many; keep one of each, in a folder of its own"
        )


def _step(ordered: Sequence[Slice]) -> np.ndarray:
    """Millimetres (3,) from a slice to the next; of a single one, its thickness."""
    if len(ordered) > 1:
        return (ordered[-1].position - ordered[0].position) / (len(ordered) - 1)
    if not ordered[0].thickness:
        raise ValueError(f"{ordered[0]} is one slice and says not how thick it is; give the whole series")
    return ordered[0].normal * ordered[0].thickness


def _worst(ordered: Sequence[Slice]) -> tuple[int, float]:
    """Which slice lies farthest from its place in an even stack, and by how many millimetres."""
    positions = np.array([each.position for each in ordered])
    even = np.linspace(positions[0], positions[-1], len(positions))
    apart = np.linalg.norm(positions - even, axis=1)
    return int(apart.argmax()), float(apart.max())


def _tolerance(ordered: Sequence[Slice]) -> float:
    """Millimetres: 1 % of the distance between slices, or what positions rounded to 0.1 mm need, at most 5 %."""
    usual = _usual_step(ordered)
    return min(max(0.01 * usual, 0.1), 0.05 * usual)


def _usual_step(ordered: Sequence[Slice]) -> float:
    return float(np.median(_steps(ordered))) if len(ordered) > 1 else 1.0


def _steps(ordered: Sequence[Slice]) -> np.ndarray:
    return np.diff([each.position @ each.normal for each in ordered])


def _longest_run(ordered: Sequence[Slice]) -> list[Slice]:
    """The longest part with the usual distance between slices, the first of several; [] where none is even."""
    odd = np.flatnonzero(np.abs(_steps(ordered) - _usual_step(ordered)) > 2 * _tolerance(ordered))
    cuts = [0, *(odd + 1).tolist(), len(ordered)]
    start, stop = max(pairwise(cuts), key=lambda part: part[1] - part[0])
    run = list(ordered[start:stop])
    return run if len(run) > 1 and _worst(run)[1] <= _tolerance(run) else []


def _irregular(path: Path, ordered: Sequence[Slice], run: int) -> str:
    steps, usual = _steps(ordered), _usual_step(ordered)
    odd = int(np.abs(steps - usual).argmax())
    way = f"; on_missing='split' reads the longest regular part, {run} slices" if run > 1 else ""
    between = f"between {ordered[odd]} and {ordered[odd + 1]}"
    missing = round(steps[odd] / usual) - 1
    if missing >= 1 and abs(steps[odd] - (missing + 1) * usual) <= (missing + 1) * 2 * _tolerance(ordered):
        slices = f"{missing} slice{'s' * (missing > 1)}"
        return f"{path} lacks {slices} {between}, where {steps[odd]:.4g} mm lie and elsewhere {usual:.4g}{way}"
    if abs(steps[odd] - usual) > 2 * _tolerance(ordered):
        return f"{path} is unevenly spaced: {steps[odd]:.4g} mm lie {between}, and elsewhere {usual:.4g}{way}"
    worst, apart = _worst(ordered)
    return f"{path} is no even stack: {ordered[worst]} lies {apart:.3g} mm beside its place{way}"
