"""Images whose values surprise: constant channels, another range or unit than the others', grey stored as colours."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from densevit.data.finding import Finding, some
from densevit.doctor.look import Look
from densevit.doctor.outliers import far_off

MOST = 0.8  # share of the images that must agree before one is said to differ
ENOUGH = 5  # images
WIDE = 30.0  # times that the 90th percentile of ranges is above the 10th: scans without a common unit
OTHER = 8.0  # times that a range must differ from the median of all


def value_findings(looks: Sequence[Look], *, normalization: Mapping[str, Any]) -> list[Finding]:
    """Of the images that could be read. What a normalisation by image makes up for is a note, else a warning."""
    severity = "note" if normalization.get("type") == "zscore" else "warning"
    found = [*_constant(looks), *_grey(looks)]
    for channel in range(len(looks[0].ranges) if looks else 0):
        same = [look for look in looks if len(look.ranges) > channel]
        known = [look for look in same if look.ranges[channel].low < look.ranges[channel].high]
        found += [*_signs(known, channel, severity), *_spans(known, channel, severity)]
    return _once(found)


def _once(found: Sequence[Finding]) -> list[Finding]:
    """Three channels of a photo say the same of a file: the first is enough."""
    kept: dict[tuple, Finding] = {}
    for finding in found:
        kept.setdefault((finding.check, finding.files if finding.files else finding.what), finding)
    return list(kept.values())


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


def _signs(looks: Sequence[Look], channel: int, severity: str) -> list[Finding]:
    """Scans of positive values among those that have negative ones, such as a CT that is not in HU; and inversely."""
    negative = np.array([look.ranges[channel].dark < 0 for look in looks])
    if len(looks) < ENOUGH or not MOST <= max(negative.mean(), 1 - negative.mean()) < 1:
        return []
    odd = ~negative if negative.mean() >= MOST else negative
    files = tuple(look.name for look, is_odd in zip(looks, odd, strict=True) if is_odd)
    kinds = ("no values below zero", "some") if negative.mean() >= MOST else ("values below zero", "none")
    what = f"{len(files)} of {len(looks)} images have {kinds[0]} and the others have {kinds[1]}: {some(files)}"
    mend = "bring them to one unit, such as HU"
    return [Finding(severity=severity, check="range", what=what, mend=mend, files=files)]


def _spans(looks: Sequence[Look], channel: int, severity: str) -> list[Finding]:
    spans = np.array([look.ranges[channel].bright - look.ranges[channel].dark for look in looks])
    spans = np.maximum(spans, 1e-12)
    if len(looks) < ENOUGH:
        return []
    low, high = np.percentile(spans, (10, 90))
    if high / low > WIDE:
        what = f"the values of the images span {spans.min():.3g} to {spans.max():.3g}: they have no unit in common"
        mend = "normalise each image by itself, with normalization=dict(type='zscore')"
        mend = mend if severity == "warning" else "the set's normalization makes up for it"
        return [Finding(severity=severity, check="range", what=what, mend=mend)]
    odd = far_off(np.log(spans), factor=OTHER)
    files = tuple(looks[index].name for index in odd)
    if not files:
        return []
    middle = float(np.median(spans))
    what = (
        f"the values of {len(files)} of {len(looks)} images span another range, first {files[0]} with "
        f"{spans[odd[0]]:.3g} where {middle:.3g} is usual"
    )
    mend = "look whether they have another unit or depth of bits"
    return [Finding(severity=severity, check="range", what=what, mend=mend, files=files)]
