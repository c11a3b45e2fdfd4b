"""A fingerprint as tables, remarks and JSON."""

from collections.abc import Sequence
from math import prod
from statistics import median
from typing import Any

import numpy as np

from densevit.doctor.fingerprint.measure import PERCENTILES, CaseFacts, Fingerprint
from densevit.doctor.fingerprint.propose import Proposal, looks_like_hu
from densevit.sides import read_sides

RARE_CASES = 0.1  # of all cases
TINY_VOXELS = 30
LITTLE = 0.25  # of the median case, that a crop sees
Row = dict[str, Any]


def grid_rows(found: Fingerprint) -> list[Row]:
    """Size and spacing: smallest, median and largest by axis."""
    rows = []
    for title, values in (("size", [c.size for c in found.cases]), ("spacing mm", [c.spacing for c in found.cases])):
        columns = np.array(values, float)
        numbers = dict(smallest=columns.min(0), median=np.median(columns, 0), largest=columns.max(0))
        rows.append({"D x H x W": title, **{key: _times(numbers[key]) for key in numbers}})
    return rows


def class_rows(found: Fingerprint) -> list[Row]:
    """Cases that hold each class, its share of all voxels, and millilitres and voxels where it is there."""
    total = sum(sum(case.voxels) for case in found.cases)
    rows = []
    for index, name in enumerate(found.classes):
        there = [case for case in found.cases if case.voxels[index]]
        rows.append(
            {
                "class": name,
                "cases": f"{len(there)} of {len(found.cases)}",
                "share": f"{100 * sum(case.voxels[index] for case in there) / total:.3g} %",
                "median ml": median(case.milliliters[index] for case in there) if there else None,
                "median voxels": int(median(case.voxels[index] for case in there)) if there else None,
            }
        )
    return rows


def channel_rows(found: Fingerprint) -> list[Row]:
    """Ranges over the cases, and the foreground of those to train on."""
    rows = []
    for index, name in enumerate(found.channels):
        facts = [case.channels[index] for case in found.cases]
        numbers = foreground_of(found, index)
        rows.append(
            {
                "channel": name,
                "lowest": min(each.low for each in facts),
                "highest": max(each.high for each in facts),
                "median case": _list([median(each.percentiles[i] for each in facts) for i in range(len(PERCENTILES))]),
                "foreground": _list([numbers[key] for key in ("percentile_00_5", "median", "percentile_99_5")])
                if numbers
                else None,
                "mean": numbers.get("mean"),
                "std": numbers.get("std"),
            }
        )
    return rows


def foreground_of(found: Fingerprint, channel: int) -> dict[str, float]:
    """Percentiles, mean and deviation; empty where no case has foreground."""
    values = found.foreground(channel).astype(float)
    if not values.size:
        return {}
    low, middle, high = np.percentile(values, PERCENTILES).tolist()
    numbers = dict(percentile_00_5=low, median=middle, percentile_99_5=high)
    return numbers | dict(mean=float(values.mean()), std=float(values.std()))


def remarks(found: Fingerprint, proposal: Proposal) -> list[str]:
    """What a user should look at, one sentence each."""
    said = [f"cannot be read, and left out of the config: {reason}" for reason in found.failed.values()]
    said += _about_classes(found)
    said += filter(None, [read_sides(found.classes).remark(), *(case.remark for case in found.cases)])
    constant = [case.name for case in found.cases if any(each.low == each.high for each in case.channels)]
    if constant:
        said.append(f"in {len(constant)} cases all voxels of a channel have one value, first {constant[0]}")
    wrong = [channel for channel, ct in enumerate(proposal.ct) if ct and not looks_like_hu(found, channel)]
    if wrong:
        lowest = min(case.channels[channel].low for case in found.trained for channel in wrong)
        said.append(f"the set says CT, and its values are not Hounsfield units in all cases (lowest {lowest:g})")
    seen = prod(min(c, n) for c, n in zip(proposal.crop_size, proposal.size, strict=True)) / prod(proposal.size)
    if seen < LITTLE:
        said.append(
            f"a crop sees {100 * seen:.0f} % of the median case: a larger spacing, or more --memory, would let the "
            "network see what lies around a structure"
        )
    if found.dataset.get("group") is None and "fold" not in found.dataset:
        said.append("each case counts as a subject of its own; with several scans of a subject give --group")
    if len(found.cases) == len(found.trained):
        said.append("no case is for validation, so that training cannot choose its best weights")
    return said


def _about_classes(found: Fingerprint) -> list[str]:
    said = []
    for index, name in enumerate(found.classes[1:], start=1):
        there: Sequence[CaseFacts] = [case for case in found.cases if case.voxels[index]]
        trained = sum(case.trained for case in there)
        if not there:
            said.append(f"no case has the class {name}: it cannot be learned or scored")
        elif not trained:
            said.append(f"no case to train on has the class {name}, which {len(there)} for validation have")
        elif len(there) < min(max(3, RARE_CASES * len(found.cases)), len(found.cases)):
            said.append(f"the class {name} is rare: {len(there)} of {len(found.cases)} cases have it")
        if there and median(case.voxels[index] for case in there) < TINY_VOXELS:
            said.append(f"the class {name} is tiny: {int(median(c.voxels[index] for c in there))} voxels in the median")
    without = [case.name for case in found.cases if not any(case.voxels[1:])]
    if without:
        said.append(f"{len(without)} cases hold background alone, first {without[0]}")
    return said


def fingerprint_json(found: Fingerprint, proposal: Proposal) -> dict[str, Any]:
    """All that is known, ready for JSON."""
    return dict(
        dataset=found.dataset,
        classes=list(found.classes),
        channels=list(found.channels),
        cases=[_case_json(case, found) for case in found.cases],
        failed=found.failed,
        foreground=[foreground_of(found, channel) for channel in range(len(found.channels))],
        proposal=vars(proposal),
        remarks=remarks(found, proposal),
    )


def _case_json(case: CaseFacts, found: Fingerprint) -> dict[str, Any]:
    return dict(
        name=case.name,
        trained=case.trained,
        size=list(case.size),
        spacing=list(case.spacing),
        voxels=dict(zip(found.classes, case.voxels, strict=True)),
        ml=dict(zip(found.classes, case.milliliters, strict=True)),
        channels=[vars(channel) for channel in case.channels],
    )


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
