"""Stored values of DICOM files to the unit of their modality, and the slices that do not say how they become it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densevit.volumes.formats.dicom_file import Header
from densevit.volumes.modality import modality_of_file

NEEDS_SCALE = ("CT", "PT")  # modalities whose files must say how stored values become their unit
SEQUENCE = "PixelValueTransformationSequence"


@dataclass(frozen=True)
class Scale:
    """What a slice says of its values: slope and intercept, or a table (`has_table`), and the unit they lead to."""

    slope: float | None = None
    intercept: float | None = None
    has_table: bool = False
    unit: str = ""

    @property
    def is_said(self) -> bool:
        return self.has_table or self.slope is not None

    @property
    def changes_nothing(self) -> bool:
        return not self.has_table and self.slope in (None, 1.0) and self.intercept in (None, 0.0)


def scale_of(header: Header, frame: int | None) -> Scale:
    """What the header of a file says of one of its frames; ValueError for half of a scale, or one that is none."""
    data = transformation(header.data, frame)
    slope, intercept = (data.get(name) for name in ("RescaleSlope", "RescaleIntercept"))
    slope, intercept = (None if value in (None, "") else float(value) for value in (slope, intercept))
    if (slope is None) != (intercept is None) or slope == 0 or not np.isfinite([slope or 1.0, intercept or 0.0]).all():
        raise ValueError(f"{header.path} rescales its values by {slope} and {intercept}; get it again, or correct it")
    table = data.get("ModalityLUTSequence") or []
    unit = data.get("RescaleType") or (table[0].get("ModalityLUTType") if table else None)
    if str(header.get("Modality")) == "PT":
        unit = header.get("Units")
    return Scale(slope, intercept, bool(table), str(unit or ""))


def transformation(data: Any, frame: int | None) -> Any:
    """What holds the scale of a frame: its own functional group, that of all frames, or the file itself."""
    groups = [data]
    for name, index in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
        found = None if index is None else data.get(name)
        if found and index < len(found) and found[index].get(SEQUENCE):
            groups.append(found[index].get(SEQUENCE)[0])
    return groups[-1]


def check_scales(path: Path, scales: Sequence[tuple[str, Scale]], *, modality: str, stored_values: bool) -> str:
    """The modality and unit of a series from what its slices, by name, say.

    ValueError where some slices say how their values become the unit and others do not, where they lead to several
    units, and for a CT or PET in which none says it, unless its `stored_values` are wanted.
    """
    named = [name for name, scale in scales if scale.is_said]
    silent = [name for name, scale in scales if not scale.is_said]
    trivial = modality not in NEEDS_SCALE and all(scale.changes_nothing for _, scale in scales)
    if named and silent and not trivial:
        raise ValueError(
            f"{silent[0]} does not say how its values become {_unit(modality)}, as {named[0]} does by RescaleSlope and "
            f"RescaleIntercept: {len(silent)} of {len(scales)} slices of {path} lack them; get those again"
        )
    if silent and modality in NEEDS_SCALE and not stored_values:
        raise ValueError(
            f"{path} does not say how its stored values become {_unit(modality)}: no slice has RescaleSlope and "
            "RescaleIntercept; get the series again, or take the values for what they are with stored_values=True"
        )
    kinds = {modality_of_file(modality, scale.unit): name for name, scale in scales}
    if len(kinds) > 1:
        (one, first), (other, second) = list(kinds.items())[:2]
        raise ValueError(f"{first} is {one}, and {second} of the same series {other}; keep one of them in {path}")
    return next(iter(kinds))


def rescale(stored: np.ndarray, data: Any, frame: int, path: Path) -> np.ndarray:
    """Stored values of a frame -> the modality's own, by slope and intercept or by a table."""
    from pydicom.pixels import apply_modality_lut

    values = apply_modality_lut(stored, transformation(data, frame))
    if not np.isfinite(values).all():
        raise ValueError(f"{path} rescales its values to what is no finite number; correct the file")
    return values


def _unit(modality: str) -> str:
    return "Hounsfield units" if modality == "CT" else "the unit of its modality"
