"""What a run's log says of it: when it begins, when it goes on, and when it ends before its end."""

import re

from densevit.runs.folder import FAILED

BEGUN = re.compile(
    r"^\S+ INFO +(?P<model>\S.*), (?P<parameters>\d{1,9}\.\d+) M parameters; (?:[^;\n]*; )?"
    r"(?P<train>\d{1,15}) training images, (?P<val>\d{1,15}|none) for validation(?:; [^;\n]*)?, "
    r"on (?P<device>.+), (?P<precision>fp32|bf16|fp16)$",
    re.MULTILINE,
)
RESUMED = re.compile(r"^\S+ INFO +resuming from \S.*iter_(\d{1,15})$", re.MULTILINE)
STOPPED = re.compile(r"^\S+ WARNING +stopped at iteration \d+ of \d+", re.MULTILINE)
BROKEN = re.compile(rf"^\S+ ERROR +{FAILED} (.+)$", re.MULTILINE)


def read_beginning(log: str) -> dict[str, str]:
    """What it says of the last beginning; empty where it says nothing."""
    found = list(BEGUN.finditer(log))
    return found[-1].groupdict() if found else {}


def read_resumptions(log: str) -> list[int]:
    """The iterations from which the run went on."""
    return [int(number) for number in RESUMED.findall(log)]


def read_end(log: str) -> tuple[str | None, bool]:
    """Why the run failed since its last beginning, None where it did not, and whether a signal stopped it."""
    since = log[max((found.start() for found in BEGUN.finditer(log)), default=0) :]
    broken = BROKEN.findall(since)
    return (broken[-1] if broken else None), STOPPED.search(since) is not None
