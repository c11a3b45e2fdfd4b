"""Whose scan a case is, so that no subject has scans on both sides of a split."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densevit.options import check_fields
from densevit.registry import check_known
from densevit.texts import read_json, read_text
from densevit.volumes.volume import case_name

TABLES = (".csv", ".tsv", ".json")
FORMS = (
    r"a regular expression such as 'patient(\d+)', a table (.csv, .json) of cases and subjects, or "
    r"dict(pattern=r'_(\d+)$', every=2) where numbers that follow one another are one subject"
)


@dataclass(frozen=True, kw_only=True)
class Numbered:
    """Cases with numbers, of which `every` ones in a row, counted from `first`, are one subject's.

    pattern: a regular expression whose one group is the number. Of the Hippocampus set 2k - 1 and 2k are one subject.
    """

    pattern: str
    every: int
    first: int = 1


def subjects_of(names: Sequence[str], group: str | Mapping[str, Any] | None, *, root: Path) -> dict[str, str]:
    """{case: subject} for every name; without a group each case is its own. ValueError for a case that has none."""
    if group is None:
        return {name: name for name in names}
    if isinstance(group, Mapping):
        return _by_number(names, group)
    if group.lower().endswith(TABLES):
        return _by_table(names, root / group if (root / group).is_file() else Path(group))
    pattern = _compile(group)
    subjects = {}
    for name in names:
        found = pattern.search(name)
        if found is None:
            raise ValueError(f"group {group!r} finds nothing in the case {name!r}; give {FORMS}")
        subjects[name] = "/".join(part or "" for part in found.groups() or [found[0]])
    return subjects


def _by_number(names: Sequence[str], group: Mapping[str, Any]) -> dict[str, str]:
    known = ["pattern", "every", "first"]
    for key in group:
        check_known(key, known, what="group has no key")
    if not {"pattern", "every"} <= group.keys():
        raise ValueError(f"group needs pattern and every, got {dict(group)}; give {FORMS}")
    numbered = Numbered(**group)
    check_fields(numbered, owner="group")
    pattern = _compile(numbered.pattern)
    if numbered.every < 1 or pattern.groups != 1:
        raise ValueError(f"group needs every to be at least 1 and one number in its pattern, got {dict(group)}")
    subjects = {}
    for name in names:
        found = pattern.search(name)
        if found is None or not (found[1] or "").isdecimal():
            raise ValueError(f"group {numbered.pattern!r} finds no number in the case {name!r}; give {FORMS}")
        subjects[name] = str((int(found[1]) - numbered.first) // numbered.every)
    return subjects


def _by_table(names: Sequence[str], path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ValueError(f"the table {path} of group does not exist; it names each case and its subject")
    table = _read_json(path) if path.suffix.lower() == ".json" else _read_csv(path)
    known = {case_name(Path(case)): subject for case, subject in table.items()} | table
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(
            f"{path} has no subject for {len(missing)} of {len(names)} cases, first {missing[0]!r}; add them"
        )
    return {name: known[name] for name in names}


def _read_json(path: Path) -> dict[str, str]:
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(value, str | int) for value in content.values()):
        raise ValueError(f'{path} must be one object such as {{"scan_01": "patient_1"}}')
    return {case: str(subject) for case, subject in content.items()}


def _read_csv(path: Path) -> dict[str, str]:
    """Two columns, case and subject; or any columns under a line of titles with these two words."""
    lines = read_text(path).splitlines()
    try:
        rows = list(csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ","))
    except csv.Error as error:
        raise ValueError(f"{path} is no table of cases and subjects ({error})") from None
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    titles = [cell.lower() for cell in rows[0]] if rows else []
    place = (0, 1)
    if {"case", "subject"} <= set(titles):
        place, rows = (titles.index("case"), titles.index("subject")), rows[1:]
    for row in rows:
        if len(row) <= max(place) or not all(row[i] for i in place):
            raise ValueError(f"{path} has the line {','.join(row)!r}; expected a case and its subject")
    return {row[place[0]]: row[place[1]] for row in rows}


def _compile(pattern: str) -> re.Pattern:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"group {pattern!r} is no regular expression ({error}); give {FORMS}") from None
