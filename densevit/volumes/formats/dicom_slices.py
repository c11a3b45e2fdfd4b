"""The slices of DICOM files, each a file of its own or a frame of one, and the regular stack that they make.

What is no regular stack is refused with the name of the file that is wrong.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from densevit.volumes.formats.dicom_file import Header, Scale
from densevit.volumes.formats.stored_volume import ReadOptions

logger = logging.getLogger("densevit")
PHASES = (  # what images at one position may differ in
    "EchoTime", "TriggerTime", "TemporalPositionIdentifier", "DiffusionBValue", "AcquisitionNumber", "AcquisitionTime",
    "ContentTime",
)  # fmt: skip
SAME_DIRECTION = 1e-3  # between unit vectors
SAME_PLACE = 1e-3  # mm
LEFT_POSTERIOR = np.diag([-1.0, -1, 1, 1])  # from DICOM's axes to right, anterior, superior, and back
TILT = 0.01  # of a stack's height: how far its last slice may lie beside the line through its first


@dataclass(frozen=True)
class Slice:
    """One image of (rows, columns) pixels. `position` (3,) of its first pixel and `axes` (2, 3), the directions along a
    row and down a column, are in DICOM's space: millimetres to left, posterior, superior. `spacing` is the millimetres
    between rows, then between columns.
    """

    path: Path
    frame: int | None
    position: np.ndarray
    axes: np.ndarray
    spacing: tuple[float, float]
    shape: tuple[int, int]
    thickness: float | None
    space: str
    scale: Scale
    phase: dict[str, str] = field(default_factory=dict)

    @property
    def normal(self) -> np.ndarray:
        """The direction in which slices are counted."""
        return np.cross(*self.axes)

    def affine(self, step: np.ndarray) -> np.ndarray:
        """(4, 4) from (column, row, slice) to mm right, anterior, superior, with `step` (3,) from slice to slice."""
        affine = np.eye(4)
        affine[:3, :3] = np.stack([self.axes[0] * self.spacing[1], self.axes[1] * self.spacing[0], step], axis=1)
        affine[:3, 3] = self.position
        return LEFT_POSTERIOR @ affine

    def __str__(self) -> str:
        return str(self.path) if self.frame is None else f"frame {self.frame + 1} of {self.path}"


def slices_of(header: Header) -> Iterator[Slice]:
    """The slices of a file; ValueError, with its name, for one that says not where it lies."""
    samples, photometric = int(header.get("SamplesPerPixel", 1)), str(header.get("PhotometricInterpretation", ""))
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2", ""):
        raise ValueError(f"{header.path} holds colours, {photometric!r}, and a volume holds numbers; leave it out")
    if header.frames == 1 and "PerFrameFunctionalGroupsSequence" not in header.data:
        yield _slice_of(header, None, header.data, header.data, header.data)
    else:
        yield from frame_slices(header)


def frame_slices(header: Header) -> Iterator[Slice]:
    """The frames of an enhanced multi-frame file, in its own order."""
    shared, frames = (header.get(f"{name}FunctionalGroupsSequence", []) for name in ("Shared", "PerFrame"))
    if len(frames) != header.frames:
        raise ValueError(
            f"{header.path} has {header.frames} frames and says of {len(frames)} where they lie; "
            "give an enhanced multi-frame file, or one file a slice"
        )
    for index, frame in enumerate(frames):
        groups = []
        for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"):
            group = frame.get(name) or (shared[0].get(name) if shared else None)
            if not group:
                raise ValueError(
                    f"{header.path} has frames without {name}; give a series that says where its slices lie"
                )
            groups.append(group[0])
        yield _slice_of(header, index, *groups)


def _slice_of(header: Header, frame: int | None, position: Any, orientation: Any, measures: Any) -> Slice:
    axes = _numbers(header, orientation, "ImageOrientationPatient", 6).reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if not np.allclose(lengths, 1, atol=0.01) or abs(axes[0] @ axes[1]) > 0.01:
        raise ValueError(
            f"{header.path} has an ImageOrientationPatient that is none, {axes.ravel().tolist()}; correct it"
        )
    spacing = _numbers(header, measures, "PixelSpacing", 2)
    if not (spacing > 0).all():
        raise ValueError(f"{header.path} has the PixelSpacing {spacing.tolist()}, and it must be positive; correct it")
    thickness = next((measures.get(n) for n in ("SpacingBetweenSlices", "SliceThickness") if measures.get(n)), None)
    return Slice(
        header.path,
        frame,
        _numbers(header, position, "ImagePositionPatient", 3),
        axes / lengths[:, None],
        tuple(spacing.tolist()),
        (int(header.get("Rows", 0)), int(header.get("Columns", 0))),
        None if thickness is None else abs(float(thickness)),
        str(header.get("FrameOfReferenceUID", "")),
        header.scale(frame),
        {name: str(header.get(name)) for name in PHASES if header.get(name) is not None},
    )


def _numbers(header: Header, data: Any, name: str, count: int) -> np.ndarray:
    try:
        values = np.array(data.get(name), float)
    except (ValueError, TypeError):
        values = np.array([])
    if values.shape != (count,) or not np.isfinite(values).all():
        raise ValueError(f"{header.path} does not say where it lies: it has no {name}; leave it out, or get it again")
    return values


def stack_slices(path: Path, slices: Sequence[Slice], *, options: ReadOptions) -> tuple[list[Slice], np.ndarray]:
    """The slices along their normal, and the affine (4, 4) of (column, row, slice) to mm right, anterior, superior."""
    _check_alike(path, slices)
    normal = slices[0].normal
    ordered = sorted(slices, key=lambda each: float(each.position @ normal))
    _check_places(path, ordered)
    if not _is_even(ordered):
        run = _longest_run(ordered)
        if options.on_missing == "error" or not run:
            raise ValueError(_irregular(path, ordered, len(run)))
        logger.warning("%s: %d of %d slices are read, from %s to %s", path, len(run), len(ordered), run[0], run[-1])
        ordered = run
    first, last = ordered[0], ordered[-1]
    if len(ordered) > 1:
        step = (last.position - first.position) / (len(ordered) - 1)
    elif first.thickness:
        step = first.normal * first.thickness
    else:
        raise ValueError(f"{first} is one slice and says not how thick it is; give the whole series")
    height = float(step @ normal)
    beside = np.linalg.norm(step - height * normal)
    if beside > TILT * height and not options.allow_gantry_tilt:
        raise ValueError(
            f"{path} was taken with a tilted gantry, by {np.degrees(np.arctan2(beside, height)):.3g} degrees: "
            f"{last} lies {beside * (len(ordered) - 1):.3g} mm beside the normal of the first slice; "
            "allow_gantry_tilt keeps the sheared grid, and the network sees it unsheared"
        )
    return ordered, first.affine(step)


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
    same = np.flatnonzero(_steps(ordered) < SAME_PLACE)
    if len(same):
        one, other = ordered[same[0]], ordered[same[0] + 1]
        differ = [name for name in one.phase if one.phase[name] != other.phase.get(name)]
        why = f", which differ in {differ[0]} ({one.phase[differ[0]]}, {other.phase.get(differ[0])})" if differ else ""
        raise ValueError(
            f"{path} holds several slices at one position, such as {one} and {other}{why}: of {len(ordered)} slices, "
            f"{len(same)} are too many; keep one of each, in a folder of its own"
        )


def _steps(ordered: Sequence[Slice]) -> np.ndarray:
    return np.diff([each.position @ each.normal for each in ordered])


def _usual_step(ordered: Sequence[Slice]) -> tuple[float, float]:
    """Millimetres from slice to slice, and how far one may lie off: 1 %, or what positions rounded to 0.1 mm need, at
    most 5 %.
    """
    usual = float(np.median(_steps(ordered))) if len(ordered) > 1 else 1.0
    return usual, min(max(0.01 * usual, 0.1), 0.05 * usual)


def _beside(ordered: Sequence[Slice]) -> np.ndarray:
    """By how many millimetres each slice lies beside its place in an even stack."""
    positions = np.array([each.position for each in ordered])
    return np.linalg.norm(positions - np.linspace(positions[0], positions[-1], len(positions)), axis=1)


def _is_even(ordered: Sequence[Slice]) -> bool:
    return bool(_beside(ordered).max() <= _usual_step(ordered)[1])


def _longest_run(ordered: Sequence[Slice]) -> list[Slice]:
    """The longest part with the usual distance between slices, the first of several; [] where none is even."""
    usual, tolerance = _usual_step(ordered)
    odd = np.flatnonzero(np.abs(_steps(ordered) - usual) > 2 * tolerance)
    start, stop = max(pairwise([0, *(odd + 1).tolist(), len(ordered)]), key=lambda part: part[1] - part[0])
    run = list(ordered[start:stop])
    return run if len(run) > 1 and _is_even(run) else []


def _irregular(path: Path, ordered: Sequence[Slice], run: int) -> str:
    steps, (usual, tolerance) = _steps(ordered), _usual_step(ordered)
    odd = int(np.abs(steps - usual).argmax())
    way = f"; on_missing='split' reads the longest regular part, {run} slices" if run else ""
    between = f"between {ordered[odd]} and {ordered[odd + 1]}"
    missing = round(steps[odd] / usual) - 1
    if missing >= 1 and abs(steps[odd] - (missing + 1) * usual) <= (missing + 1) * 2 * tolerance:
        slices = f"{missing} slice{'s' * (missing > 1)}"
        return f"{path} lacks {slices} {between}, where {steps[odd]:.4g} mm lie and elsewhere {usual:.4g}{way}"
    if abs(steps[odd] - usual) > 2 * tolerance:
        return f"{path} is unevenly spaced: {steps[odd]:.4g} mm lie {between}, and elsewhere {usual:.4g}{way}"
    apart = _beside(ordered)
    return f"{path} is no even stack: {ordered[apart.argmax()]} lies {apart.max():.3g} mm beside its place{way}"
