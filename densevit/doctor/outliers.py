"""Cases that are far from all others: in size, in spacing, in what is labelled."""

from collections.abc import Sequence

import numpy as np

from densevit.data.finding import Finding, some
from densevit.doctor.look import Look

FAR = 6.0  # robust standard deviations from the median
NARROW = 0.1  # the least standard deviation of logarithms: a tenth more or less is never far
FACTOR = 3.0  # times that a value must differ from the median besides
ENOUGH = 10  # cases, from which it is known what is usual
USUAL = 0.95  # share of the cases that hold a structure, from which one without it is told of


def far_off(logs: np.ndarray, *, factor: float = FACTOR) -> list[int]:
    """Which of these logarithms lie far from their median, the farthest first."""
    if len(logs) < ENOUGH:
        return []
    distance = np.abs(logs - np.median(logs))
    spread = max(1.4826 * float(np.median(distance)), NARROW)
    found = np.flatnonzero((distance > FAR * spread) & (distance > np.log(factor)))
    return sorted(found.tolist(), key=lambda index: -distance[index])


def outlier_findings(looks: Sequence[Look], *, classes: Sequence[str]) -> list[Finding]:
    """Of the samples that could be read; what is labelled is looked at in scans, whose structures have a usual size."""
    found = _tell(looks, [float(np.prod(look.size)) for look in looks], "size", "{:.3g} pixels or voxels")
    scans = [look for look in looks if look.spacing is not None]
    for axis, name in enumerate(("depth", "height", "width")):
        said = f"{{:.3g}} mm between voxels along {name}"
        found += _tell(scans, [look.spacing[axis] for look in scans], "spacing", said)
    labelled = [look for look in scans if (look.facts or {}).get("counts")]
    for value, name in list(enumerate(classes))[1:]:
        sizes = [look.facts["counts"].get(str(value), 0) * np.prod(look.spacing) / 1000 for look in labelled]
        found += _tell(*_present(labelled, sizes), "volume", f"{{:.3g}} ml of {name}")
        found += _missing(labelled, sizes, name)
    return found


def _present(looks: Sequence[Look], sizes: Sequence[float]) -> tuple[list[Look], list[float]]:
    kept = [(look, size) for look, size in zip(looks, sizes, strict=True) if size > 0]
    return [look for look, _ in kept], [size for _, size in kept]


def _tell(looks: Sequence[Look], values: Sequence[float], check: str, said: str) -> list[Finding]:
    odd = far_off(np.log(np.array(values))) if len(values) else []
    if not odd:
        return []
    files = tuple(looks[index].name for index in odd)
    one, usual = said.format(values[odd[0]]), f"{float(np.median(values)):.3g}"
    what = (
        f"{len(files)} of {len(looks)} samples are far from the others, first {files[0]}: {one}, and {usual} is usual"
    )
    return [Finding(severity="note", check=check, what=what, mend="look whether they belong to the set", files=files)]


def _missing(looks: Sequence[Look], sizes: Sequence[float], name: str) -> list[Finding]:
    files = tuple(look.name for look, size in zip(looks, sizes, strict=True) if not size)
    if not files or len(looks) < ENOUGH or len(files) > (1 - USUAL) * len(looks):
        return []
    what = f"{len(files)} of {len(looks)} labels have no {name}, and all others have: {some(files)}"
    return [Finding(severity="note", check="missing", what=what, mend="look whether it was forgotten", files=files)]
