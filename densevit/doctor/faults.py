"""Files that a training would stop at, or warn of: one finding for all that say the same."""

import re
from collections.abc import Sequence

from densevit.data.dataset import Dataset
from densevit.data.finding import Finding
from densevit.doctor.look import Look

NUMBERS = re.compile(r"\d[\d.,x ]*\d|\d")


def fault_findings(looks: Sequence[Look], dataset: Dataset) -> list[Finding]:
    """Sentences that differ in names and numbers alone are one finding; the first is quoted."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for look in looks:
        said = [("warning", text) for text in look.said] + ([("error", look.fault)] if look.fault else [])
        for severity, text in said:
            kind = text
            for path in sorted(dataset.cases[look.index].files, key=len, reverse=True):
                kind = kind.replace(path, "")
            groups.setdefault((severity, NUMBERS.sub("#", kind)), []).append((look.name, text))
    found = []
    for (severity, _), alike in groups.items():
        names = dict.fromkeys(name for name, _ in alike)
        texts = [text for _, text in alike]
        found.append(Finding.of_alike(texts, severity=severity, check="files", files=names))
    return found
