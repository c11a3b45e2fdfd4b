"""DICOM-SEG: label maps that a viewer lays over the series they were made from.

Legend: label (D, H, W); frames (F, rows, columns) in the order of the source's slices.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from densevit import __version__
from densevit.files import replacing
from densevit.labels import Color, default_palette
from densevit.quoting import label_name
from densevit.volumes.formats.dicom import DicomSource
from densevit.volumes.formats.dicom_file import quiet_pydicom, read_dataset
from densevit.volumes.formats.dicom_seg_reading import read_dicom_seg

if TYPE_CHECKING:
    from densevit.volumes.volume import Volume

__all__ = ["read_dicom_seg", "write_dicom_seg"]
KINDS = {"BINARY": "1.2.840.10008.1.2.1", "LABELMAP": "1.2.840.10008.1.2.5"}  # as stored: explicit VR, and RLE
NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime",
)  # fmt: skip
ABOUT = dict(
    series_number=900,
    instance_number=1,
    manufacturer="densevit",
    manufacturer_model_name="densevit",
    software_versions=__version__,
    device_serial_number="0",
    series_description="Segmentation by densevit",
    content_creator_name="densevit^",
)
UTF_8 = "ISO_IR 192"
LONGEST_NAME = 64  # characters of a SegmentLabel


@quiet_pydicom()
def write_dicom_seg(
    label: np.ndarray,
    volume: "Volume",
    path: Path,
    *,
    classes: Sequence[str],
    values: Sequence[int],
    palette: Sequence[Color] | None = None,
    kind: str = "BINARY",
) -> None:
    """Save a label map of a DICOM series' volume as DICOM-SEG; 0 is background, every other class is a segment.

    `values` are the label's value of each class and `palette` its colour. Segments are counted from 1 in the order of
    classes, those that are nowhere included. `kind` is "BINARY", which all viewers read, or "LABELMAP", smaller and new
    in 2024. ValueError for a volume of no DICOM series and for labels that are no class; OSError with the path.
    """
    import highdicom

    if kind not in KINDS:
        raise ValueError(f"kind must be 'BINARY' or 'LABELMAP', got {kind!r}")
    if not isinstance(volume.source, DicomSource):
        raise ValueError(f"{volume.path} is no DICOM series, to which a DICOM-SEG could refer; write NIfTI instead")
    colors = list(palette or default_palette(len(classes)))
    segments = [each for each in zip(classes, values, colors, strict=True) if each[1] != 0]
    if not segments:
        raise ValueError("a DICOM-SEG needs a class beside the background; give classes with their values")
    numbered = _number_segments(volume.on_own_axes(label), [value for _, value, _ in segments])
    images, frames = _sources(volume.source, numbered.transpose(2, 1, 0))
    try:
        segmentation = highdicom.seg.Segmentation(
            source_images=images,
            pixel_array=frames,
            segmentation_type=kind,
            segment_descriptions=[_describe(i, name, color) for i, (name, _, color) in enumerate(segments, 1)],
            series_instance_uid=highdicom.UID(),
            sop_instance_uid=highdicom.UID(),
            specific_character_set=_character_set(images[0]),
            transfer_syntax_uid=KINDS[kind],
            omit_empty_frames=bool(frames.any()),
            **ABOUT,
        )
    except (ValueError, TypeError, AttributeError) as error:
        text = " ".join(str(error).split())
        raise ValueError(
            f"{volume.path} cannot be referred to by a DICOM-SEG ({text}); a NIfTI mask does without"
        ) from error
    with replacing(path) as aside:
        segmentation.save_as(aside)


def _number_segments(own: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Values of classes -> segment numbers from 1, in the smallest type that holds them."""
    found = np.unique(own)
    unknown = sorted(set(found.tolist()) - {0, *values})
    if unknown:
        raise ValueError(f"the label holds {', '.join(map(str, unknown[:5]))}, and the classes are {list(values)}")
    number = {value: index for index, value in enumerate(values, 1)} | {0: 0}
    table = np.array([number[value] for value in found.tolist()], np.min_scalar_type(len(values)))
    return table[np.searchsorted(found, own)]


def _sources(source: DicomSource, frames: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """The headers of the source's files, and the frames in their order."""
    paths = list(dict.fromkeys(path for path, _ in source.slices))
    images = [_header(path) for path in paths]
    if source.slices[0][1] is None:
        return images, np.ascontiguousarray(frames)
    if len(images) > 1:
        raise ValueError(f"{paths[1]} is one of several multi-frame files, and a DICOM-SEG refers to one; write NIfTI")
    whole = np.zeros((int(images[0].NumberOfFrames), *frames.shape[1:]), frames.dtype)
    whole[[frame for _, frame in source.slices]] = frames
    return images, whole


def _header(path: Path) -> Any:
    """The file without its pixels; what the standard lets be empty is so where it is not there, or against it."""
    data = read_dataset(path)
    for name in NEEDED:
        if not data.get(name):
            raise ValueError(f"{path} has no {name}, to which a DICOM-SEG must refer; a NIfTI mask needs none")
    for name in MAY_BE_EMPTY:
        if name not in data or not _is_standard(name, data.get(name)):
            setattr(data, name, "")
    return data


def _is_standard(name: str, value: Any) -> bool:
    """Whether highdicom takes the value of one of `MAY_BE_EMPTY`."""
    from pydicom.valuerep import DA, TM

    if name == "PatientSex":
        return value in (None, "", "M", "F", "O")
    kind = {"Date": DA, "Time": TM}.get(name[-4:], str)
    try:
        kind(value)
    except ValueError:
        return False
    return True


def _character_set(image: Any) -> str | list[str]:
    """The source's own, which writes its names; UTF-8 where it has none, or one that is not in the standard."""
    from highdicom.enum import SpecificCharacterSetValues

    named = image.get("SpecificCharacterSet") or UTF_8
    known = {each.value for each in SpecificCharacterSetValues}
    several = [named] if isinstance(named, str) else list(named)
    return several if set(several) <= known else UTF_8


def _describe(number: int, name: str, color: Color) -> Any:
    import highdicom
    from pydicom.sr.coding import Code

    label = label_name(name).strip()[:LONGEST_NAME] or str(number)
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=Code("123037004", "SCT", "Anatomical Structure"),
        segmented_property_type=Code("85756007", "SCT", "Tissue"),
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="densevit", version=__version__, family=Code("123109", "DCM", "Artificial Intelligence")
        ),
        tracking_uid=highdicom.UID(),
        tracking_id=label,
        display_color=highdicom.color.CIELabColor.from_rgb(*color),
    )
