"""What the numbers of a scan are: "CT" (Hounsfield units), "CT (MGML)" (another unit), "MR", "PT (BQML)"; "" if nobody
says. The words are DICOM's, of Modality, RescaleType and Units.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

NAMES = {  # of channels, as data sets have them
    "CT": re.compile(r"(?<![a-z])(ct|cta|cect|ncct)(?![a-z])", re.IGNORECASE),
    "MR": re.compile(r"(?<![a-z])(mr|mri|t1|t1w|t1c|t1ce|t1gd|t2|t2w|flair|adc|dwi)(?![a-z])", re.IGNORECASE),
    "PT": re.compile(r"(?<![a-z])(pt|pet|suv)(?![a-z])", re.IGNORECASE),
}
UNKNOWN = ("", "OT")  # modalities that say nothing
HOUNSFIELD = ("", "HU", "US")  # units of a CT: said by RescaleType, not said, and unspecified, as many programs write


def modality_of_file(modality: str, unit: str = "") -> str:
    """From the elements of a DICOM file."""
    if modality in UNKNOWN:
        return ""
    if modality == "CT":
        return "CT" if unit.upper() in HOUNSFIELD else f"CT ({unit})"
    return f"PT ({unit})" if modality == "PT" and unit else modality


def modality_of_name(name: str) -> str:
    """From the name that a data set gives a channel, such as "CT" or "T1w"; "" where it names none, or several, and for
    a pattern of files, whose letters may mean anything.
    """
    if "*" in name or "/" in name:
        return ""
    found = [modality for modality, pattern in NAMES.items() if pattern.search(name)]
    return found[0] if len(found) == 1 else ""


def modalities_of_normalization(config: Mapping[str, Any], channels: int) -> tuple[str, ...]:
    """What each channel must be for its numbers to be normalised so: "CT", or "" where any will do."""
    if config["type"] == "by_channel":
        return tuple(modality for each in config["channels"] for modality in modalities_of_normalization(each, 1))
    hounsfield = config["type"] == "ct" or (config["type"] == "window" and config["low"] < 0)
    return ("CT" if hounsfield else "",) * channels


def check_modality(name: object, found: Sequence[str], wanted: Sequence[str], *, who: str = "the model") -> None:
    """ValueError for a scan of which a channel is known to be another kind of image than `who` was made for."""
    for number, (there, asked) in enumerate(zip(found, wanted, strict=False)):
        if there and asked and not _same(there, asked):
            channel = f"channel {number} of " if len(wanted) > 1 else ""
            raise ValueError(
                f"{channel}{name} is {_described(there)}, and {who} is for {_described(asked)}: their numbers mean "
                f"other things; give a scan of that kind (modality={asked.partition(' ')[0]!r} chooses among the "
                "series of a DICOM folder)"
            )


def _same(one: str, other: str) -> bool:
    """Of one modality and, where both say it, of one unit; "CT" says Hounsfield units."""
    (kind, _, unit), (other_kind, _, other_unit) = one.partition(" "), other.partition(" ")
    return kind == other_kind and (unit == other_unit or (kind != "CT" and not (unit and other_unit)))


def _described(modality: str) -> str:
    return "CT in Hounsfield units" if modality == "CT" else modality
