"""Open the splits of a set as a training would, look at every sample once, and say what is wrong with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from densevit.data.dataset import Dataset, check_dataset_config
from densevit.data.finding import SEVERITIES, Finding
from densevit.data.label_check import LabelReport
from densevit.doctor.duplicates import duplicate_findings
from densevit.doctor.faults import fault_findings
from densevit.doctor.look import Look, look_through
from densevit.doctor.outliers import outlier_findings
from densevit.doctor.said import keeping_warnings
from densevit.doctor.turned import Turned
from densevit.doctor.values import value_findings

Progress = Callable[[str, int, int], None]  # the split, how many samples of it are done, and how many there are
HEAVIEST = 10.0  # a weight that is suggested, over that of the median class


@dataclass(frozen=True, kw_only=True)
class ClassShare:
    """Of one class: its share of all labelled pixels or voxels, in how many labels it is, and a weight for the loss."""

    name: str
    share: float
    labels: int
    weight: float


@dataclass(frozen=True)
class Examined:
    """One split: the set, how many of its samples could be read, and its classes."""

    dataset: Dataset
    readable: int
    classes: list[ClassShare]


@dataclass(frozen=True)
class Examination:
    """All splits that could be opened, and the findings on them, the worst first."""

    splits: dict[str, Examined]
    findings: list[Finding] = field(default_factory=list)

    def count(self, severity: str) -> int:
        """How many findings have this severity."""
        return sum(finding.severity == severity for finding in self.findings)


def examine(
    configs: Mapping[str, Mapping[str, Any]], *, num_workers: int = 0, progress: Progress | None = None
) -> Examination:
    """Of the config of each split; a split that cannot be opened is a finding too."""
    splits, found, readable = {}, [], {}
    for split, config in configs.items():
        with keeping_warnings() as said:
            try:
                dataset = check_dataset_config(config).open()
            except (ValueError, OSError) as error:
                found.append(replace(Finding.said(str(error), severity="error", check="open"), split=split))
                continue
        looks, turned = _look(dataset, split, num_workers, progress)
        with keeping_warnings() as judged:
            of_split = _judge(dataset, looks, turned)
        of_split += [Finding.said(text, severity="warning", check="open") for text in [*said, *judged]]
        found += [replace(finding, split=split) for finding in of_split]
        readable[split] = [look for look in looks if look.facts is not None]
        splits[split] = Examined(dataset, len(readable[split]), _classes(dataset, readable[split]))
    found += duplicate_findings(readable)
    order = sorted(_distinct(found), key=lambda finding: SEVERITIES.index(finding.severity))
    return Examination(splits, order)


def _look(dataset: Dataset, split: str, num_workers: int, progress: Progress | None) -> tuple[list[Look], Turned]:
    looks, turned = [], Turned()
    for look in look_through(dataset, num_workers=num_workers):
        turned.add(look)
        looks.append(replace(look, agreement=None))
        if progress is not None:
            progress(split, len(looks), len(dataset))
    return looks, turned


def _judge(dataset: Dataset, looks: list[Look], turned: Turned) -> list[Finding]:
    known = [look for look in looks if look.facts is not None]
    return [
        *fault_findings(looks, dataset),
        *dataset.judge({look.index: look.facts for look in known}),
        *turned.findings(),
        *value_findings(known, normalization=dataset.normalization),
        *outlier_findings(known, classes=dataset.classes),
    ]


def _classes(dataset: Dataset, looks: list[Look]) -> list[ClassShare]:
    """Weights go with the root of how much rarer a class is than the median one."""
    counts = LabelReport.of([look.facts["counts"] for look in looks], num_classes=dataset.num_classes).counts
    counts = counts.reshape(-1, dataset.num_classes)
    total = counts.sum(0)
    if not total.any():
        return []
    share = total / total.sum()
    middle = float(np.median(share[share > 0]))
    weight = np.minimum(np.sqrt(middle / np.maximum(share, 1e-12)), HEAVIEST)
    labels = (counts > 0).sum(0)
    return [
        ClassShare(name=name, share=float(s), labels=int(n), weight=round(float(w), 3) if s else 0.0)
        for name, s, n, w in zip(dataset.classes, share, labels, weight, strict=True)
    ]


def _distinct(findings: list[Finding]) -> list[Finding]:
    """What is said of several splits is said once."""
    kept: dict[str, Finding] = {}
    for finding in findings:
        kept.setdefault(finding.text, finding)
    return list(kept.values())
