"""Images whose values surprise: constant channels, another range or unit than the others', grey stored as colours."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from densevit.data.finding import Finding, some
from densevit.doctor.look import Look, Range
from densevit.doctor.outliers import far_off

MOST = 0.8  # share of the images that must agree before one is said to differ
ENOUGH = 5  # images
WIDE = 30.0  # times that the 90th percentile of ranges is above the 10th: scans without a common unit
OTHER = 8.0  # times that a range must differ from the median of all


def value_findings(looks: Sequence[Look], *, normalization: Mapping[str, Any]) -> list[Finding]:
    """Of the images that could be read. What a normalisation by image makes up for is a note, else a warning."""
    severity = "note" if normalization.get("type") == "zscore" else "warning"
    found = [*_constant(looks), *_grey(looks)]
    for ranges in _channels(looks):
        known = [(look.name, each) for look, each in zip(looks, ranges, strict=True) if each.low < each.high]
        names, kept = [name for name, _ in known], [each for _, each in known]
        found += [*_signs(names, kept, severity), *_spans(names, kept, severity)]
    return found


def _channels(looks: Sequence[Look]) -> list[list[Range]]:
    """The ranges of all images, of each channel of scans; those of a picture are of one unit, and count as one."""
    if not looks or looks[0].spacing is not None:
        return [list(each) for each in zip(*(look.ranges for look in looks), strict=True)]
    joined = []
    for look in looks:
        low, dark, median, bright, high = zip(*look.ranges, strict=True)
        joined.append(Range(min(low), min(dark), float(np.median(median)), max(bright), max(high)))
    return [joined]


def _constant(looks: Sequence[Look]) -> list[Finding]:
    """Channels of one value; images that are constant throughout are told of where the set is opened."""
    files = [
        look.name
        for look in looks
        if any(each.low == each.high for each in look.ranges) and not (look.facts or {}).get("constant")
    ]
    if not files:
        return []
    what = f"in {len(files)} of {len(looks)} images a channel has one value throughout: {some(files)}"
    mend = "get these channels again, or leave the images out"
    return [Finding(severity="warning", check="constant", what=what, mend=mend, files=tuple(files))]


def _grey(looks: Sequence[Look]) -> list[Finding]:
    files = tuple(look.name for look in looks if look.grey and not (look.facts or {}).get("constant"))
    if not files:
        return []
    if len(files) == len(looks):
        what = f"all {len(files)} images are grey, in three equal channels"
        mend = "this is right for weights that were trained on photos; in_channels=1 reads one channel"
    else:
        what = f"{len(files)} of {len(looks)} images are grey, and the others have colours: {some(files)}"
        mend = "if the images to predict are coloured, look whether these belong to the set"
    return [Finding(severity="note", check="grey", what=what, mend=mend, files=files)]


def _signs(names: Sequence[str], ranges: Sequence[Range], severity: str) -> list[Finding]:
    """Scans of positive values among those that have negative ones, such as a CT that is not in HU; and inversely."""
    negative = np.array([each.dark < 0 for each in ranges])
    if len(ranges) < ENOUGH or not MOST <= max(negative.mean(), 1 - negative.mean()) < 1:
        return []
    odd = ~negative if negative.mean() >= MOST else negative
    files = tuple(name for name, is_odd in zip(names, odd, strict=True) if is_odd)
    kinds = ("no values below zero", "some") if negative.mean() >= MOST else ("values below zero", "none")
    what = f"{len(files)} of {len(names)} images have {kinds[0]} and the others have {kinds[1]}: {some(files)}"
    mend = "bring them to one unit, such as HU"
    return [Finding(severity=severity, check="range", what=what, mend=mend, files=files)]


def _spans(names: Sequence[str], ranges: Sequence[Range], severity: str) -> list[Finding]:
    if len(ranges) < ENOUGH:
        return []
    spans = np.maximum([each.bright - each.dark for each in ranges], 1e-12)
    low, high = np.percentile(spans, (10, 90))
    if high / low > WIDE:
        what = f"the values of the images span {spans.min():.3g} to {spans.max():.3g}: they have no unit in common"
        mend = "normalise each image by itself, with normalization=dict(type='zscore')"
        mend = mend if severity == "warning" else "the set's normalization makes up for it"
        return [Finding(severity=severity, check="range", what=what, mend=mend)]
    odd = far_off(np.log(spans), factor=OTHER)
    if not odd:
        return []
    files = tuple(names[index] for index in odd)
    what = (
        f"the values of {len(files)} of {len(names)} images span another range, first {files[0]} with "
        f"{spans[odd[0]]:.3g} where {float(np.median(spans)):.3g} is usual"
    )
    mend = "look whether they have another unit or depth of bits"
    return [Finding(severity=severity, check="range", what=what, mend=mend, files=files)]
