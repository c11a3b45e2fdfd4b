"""Files that a training would stop at: one finding for all that say the same."""

import re
from collections.abc import Sequence

from densevit.data.dataset import Dataset
from densevit.data.finding import Finding
from densevit.doctor.look import Look

NUMBERS = re.compile(r"\d[\d.,x ]*\d|\d")


def fault_findings(looks: Sequence[Look], dataset: Dataset) -> list[Finding]:
    """Faults that differ in names and numbers alone are one finding; the first is quoted."""
    groups: dict[str, list[Look]] = {}
    for look in looks:
        if look.fault:
            text = look.fault
            for path in sorted(dataset.cases[look.index].files, key=len, reverse=True):
                text = text.replace(path, "")
            groups.setdefault(NUMBERS.sub("#", text), []).append(look)
    return [
        Finding.of_alike([look.fault for look in alike], check="files", files=[look.name for look in alike])
        for alike in groups.values()
    ]
