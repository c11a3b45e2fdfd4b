"""The slices of DICOM files: where each lies in the patient, whether it is a file of its own or a frame of one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from densevit.volumes.formats.dicom_file import Header, naming
from densevit.volumes.formats.dicom_units import Scale, scale_of

PHASES = (  # what images at one position may differ in
    "EchoTime",
    "TriggerTime",
    "TemporalPositionIdentifier",
    "DiffusionBValue",
    "AcquisitionNumber",
    "AcquisitionTime",
    "ContentTime",
)


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

    def __str__(self) -> str:
        return str(self.path) if self.frame is None else f"frame {self.frame + 1} of {self.path}"


def find_slices(headers: Iterable[Header]) -> list[Slice]:
    """The slices of all files; ValueError, with the file's name, for one that says not where it lies."""
    slices = []
    for header in headers:
        with naming(header.path):
            slices += _slices_of(header)
    return slices


def _slices_of(header: Header) -> Iterator[Slice]:
    samples, photometric = int(header.get("SamplesPerPixel", 1)), str(header.get("PhotometricInterpretation", ""))
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2", ""):
        raise ValueError(f"{header.path} holds colours, {photometric!r}, and a volume holds numbers; leave it out")
    if header.frames == 1 and "PerFrameFunctionalGroupsSequence" not in header.data:
        yield _make(header, None, header.data, header.data, header.data)
        return
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
        groups = [*([shared[0]] if shared else []), frame]
        named = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
        yield _make(header, index, *(_group(header, groups, name) for name in named))


def _group(header: Header, groups: list[Any], name: str) -> Any:
    """The functional group of a frame, or else of all frames."""
    for group in reversed(groups):
        if group.get(name):
            return group.get(name)[0]
    raise ValueError(f"{header.path} has frames without {name}; give a series that says where its slices lie")


def _make(header: Header, frame: int | None, position: Any, orientation: Any, measures: Any) -> Slice:
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
        scale_of(header, frame),
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
