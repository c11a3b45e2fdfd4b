"""What is wrong or odd with a set: the sentences that opening one raises and warns of, and that `doctor` lists."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from densevit.quoting import sentence

logger = logging.getLogger("densevit")
SEVERITIES = ("error", "warning", "note")  # an error: training on the set would fail, or its scores would be wrong


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sentence, `what` is found and the way out of it, and the `files` that it is about, all of them.

    `check` is the name of the check, see docs/doctor.md; `split` the part of the set that it is in.
    """

    severity: str
    check: str
    what: str
    mend: str = ""
    files: tuple[str, ...] = ()
    split: str = ""

    @classmethod
    def said(cls, text: str, *, severity: str, check: str, files: Iterable[str] = ()) -> "Finding":
        """From a message of the package: what is wrong stands before its first semicolon, the way out behind it."""
        what, _, mend = _outside_of_brackets(sentence(text)).partition("\0")
        return cls(severity=severity, check=check, what=what, mend=mend, files=tuple(files))

    @classmethod
    def of_alike(cls, texts: Sequence[str], *, check: str, files: Iterable[str], severity: str = "error") -> "Finding":
        """One finding for messages that say the same of other files: the first, and how many there are."""
        first = cls.said(texts[0], severity=severity, check=check, files=files)
        more = f" (and {len(texts) - 1} more like it)" if len(texts) > 1 else ""
        return replace(first, what=first.what + more)

    @property
    def text(self) -> str:
        return f"{self.what}; {self.mend}" if self.mend else self.what


def _outside_of_brackets(text: str) -> str:
    """The first semicolon that divides a sentence, and stands not within brackets, becomes a zero byte."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth <= 0 and text.startswith("; ", place):
            return f"{text[:place]}\0{text[place + 2 :]}"
    return text


def raise_or_warn(findings: Iterable[Finding]) -> None:
    """Log all but the errors; the first error is raised as ValueError."""
    for finding in findings:
        if finding.severity == "error":
            raise ValueError(finding.text)
        logger.log(logging.WARNING if finding.severity == "warning" else logging.INFO, "%s", finding.text)


def some(names: Iterable[str]) -> str:
    """The first three, and that there are more."""
    names = list(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
