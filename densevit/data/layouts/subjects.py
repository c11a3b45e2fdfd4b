"""Whose scan a case is, so that no subject has scans on both sides of a split."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densevit.options import read_options
from densevit.texts import read_json, read_table
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
    if isinstance(group, str) and group.lower().endswith(TABLES):
        return _by_table(names, root / group if (root / group).is_file() else Path(group))
    numbered = read_options(Numbered, group, where="group") if isinstance(group, Mapping) else None
    text = group if numbered is None else numbered.pattern
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ValueError(f"group {text!r} is no regular expression ({error}); give {FORMS}") from None
    if numbered is not None and (numbered.every < 1 or pattern.groups != 1):
        raise ValueError(f"group needs every to be at least 1 and one number in its pattern, got {dict(group)}")
    subjects = {}
    for name in names:
        found = pattern.search(name)
        if found is None or (numbered is not None and not (found[1] or "").isdecimal()):
            raise ValueError(f"group {text!r} finds nothing, or no number, in the case {name!r}; give {FORMS}")
        if numbered is None:
            subjects[name] = "/".join(part or "" for part in found.groups() or [found[0]])
        else:
            subjects[name] = str((int(found[1]) - numbered.first) // numbered.every)
    return subjects


def _by_table(names: Sequence[str], path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ValueError(f"the table {path} of group does not exist; it names each case and its subject")
    table = _read_table(path)
    known = {case_name(Path(case)): subject for case, subject in table.items()} | table
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(
            f"{path} has no subject for {len(missing)} of {len(names)} cases, first {missing[0]!r}; add them"
        )
    return {name: known[name] for name in names}


def _read_table(path: Path) -> dict[str, str]:
    """Of a JSON object, or two columns, case and subject; or any columns under a line of titles with these words."""
    if path.suffix.lower() == ".json":
        content = read_json(path)
        if not isinstance(content, dict) or not all(isinstance(value, str | int) for value in content.values()):
            raise ValueError(f'{path} must be one object such as {{"scan_01": "patient_1"}}')
        return {case: str(subject) for case, subject in content.items()}
    table = read_table(path, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    rows = [[cell.strip() for cell in row] for row in table]
    titles = [cell.lower() for cell in rows[0]] if rows else []
    case, subject = 0, 1
    if {"case", "subject"} <= set(titles):
        case, subject, rows = titles.index("case"), titles.index("subject"), rows[1:]
    for row in rows:
        if len(row) <= max(case, subject) or not (row[case] and row[subject]):
            raise ValueError(f"{path} has the line {','.join(row)!r}; expected a case and its subject")
    return {row[case]: row[subject] for row in rows}
