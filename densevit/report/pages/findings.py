"""Findings on a set as one file of HTML, with pictures of the files concerned; it opens without a network."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from densevit.data.dataset import Dataset
from densevit.data.finding import Finding
from densevit.report.pages.html import write_page
from densevit.report.thumbnails import thumbnail

PICTURES = 6  # of each finding
LISTED = 200  # names of files of each finding


def findings_page(
    path: str | Path,
    findings: Sequence[Finding],
    datasets: Mapping[str, Dataset],
    *,
    title: str,
    splits: Sequence[tuple[str, Sequence[Mapping[str, Any]]]] = (),
) -> Path:
    """Write the page; `datasets` by split are where pictures come from, `splits` have a line and a table of classes
    each.
    """
    where = {name: (data, index) for data in datasets.values() for index, name in _places(data)}
    return write_page(
        path,
        "findings.html.j2",
        title=title,
        findings=[(finding, _pictures(finding, where)) for finding in findings],
        splits=splits,
        most=LISTED,
    )


def _places(data: Dataset) -> list[tuple[int, str]]:
    return [(index, path) for index, case in enumerate(data.cases) for path in case.files]


def _pictures(finding: Finding, where: Mapping[str, tuple[Dataset, int]]) -> list[tuple[str, str]]:
    """(name, address) of those of the first files that can be read."""
    shown = []
    for name in finding.files[:PICTURES]:
        if name not in where:
            continue
        data, index = where[name]
        for each in (data, _unlabelled(data, index)):  # a wrong label leaves the image to be shown
            with suppress(ValueError, OSError, MemoryError):  # the finding says so
                sample = each.inspect(index if each is data else 0)[1]
                shown.append((Path(name).name, thumbnail(sample, palette=data.palette)))
                break
    return shown


def _unlabelled(data: Dataset, index: int) -> Dataset:
    """The set with one of its samples alone, without the label."""
    alone = copy(data)
    alone.cases = [replace(data.cases[index], label=None)]
    return alone
