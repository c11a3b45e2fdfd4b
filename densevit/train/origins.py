"""What a run began with: kept in the header of its weights, and compared with how the run's images are prepared."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isclose
from typing import Any

from densevit.checkpoint import Header
from densevit.normalization import in_full
from densevit.weights import LoadReport, Origin

NEARLY = 0.5  # of 255, by which the numbers of two publishers may differ


def name_origins(header: Header, reports: Sequence[LoadReport]) -> Header:
    """The header with the weights that a run began with, and what those began with; none where it began with none."""
    origins = [report.origin for report in reports if report.origin is not None]
    return replace(header, started_from=tuple(origin.as_dict() for origin in origins))


def differing_normalization(origin: Origin | None, own: Mapping[str, Any] | None) -> str | None:
    """One sentence where weights were trained on images that were normalised otherwise than a run's, or None.

    Images of another number of channels cannot be compared.
    """
    if origin is None or origin.normalization is None or own is None:
        return None
    theirs, ours = in_full(origin.normalization), in_full(own)
    if _channels(theirs) != _channels(ours) and None not in (_channels(theirs), _channels(ours)):
        return None
    if _same(theirs, ours):
        return None
    return (
        f"{origin.name} was trained on images normalised by {_in_words(theirs)}, and this run normalises its images by "
        f"{_in_words(ours)}; give the data sets of the config normalization={_in_words(theirs)} for the same"
    )


def _channels(said: Mapping[str, Any]) -> int | None:
    numbers = said.get("mean") or said.get("channels")
    return None if numbers is None else len(numbers)


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    if a["type"] != b["type"] or a["type"] != "mean_std":
        return a == b
    numbers = zip([*a["mean"], *a["std"]], [*b["mean"], *b["std"]], strict=True)
    return all(isclose(x, y, abs_tol=NEARLY) for x, y in numbers)


def _in_words(said: Mapping[str, Any]) -> str:
    rest = ", ".join(f"{key}={value}" for key, value in said.items() if key != "type" and value is not None)
    return f"dict(type={said['type']!r}{', ' if rest else ''}{rest})"
