"""Requirements that scores must meet, for a pipeline to stop at: `liver.dice>=0.9`, `mIoU>=75`."""

import operator
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from densevit.registry import check_known

RELATIONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
WRITTEN = re.compile(r"\s*(?P<name>.+?)\s*(?P<relation>>=|<=|>|<)\s*(?P<number>[-+0-9.eE]+)\s*")


@dataclass(frozen=True)
class Requirement:
    """What the score called `name` must be: `relation` is one of >=, <=, > and <."""

    name: str
    relation: str
    number: float

    @classmethod
    def read(cls, text: str) -> "Requirement":
        """`liver.dice>=0.9`; ValueError for what is none."""
        match = WRITTEN.fullmatch(text)
        try:
            return cls(match["name"], match["relation"], float(match["number"]))
        except (TypeError, ValueError):
            raise ValueError(
                f"a requirement reads NAME>=NUMBER (or <=, >, <), such as 'mIoU>=75' or 'liver.dice>=0.9', got {text!r}"
            ) from None

    def __str__(self) -> str:
        return f"{self.name}{self.relation}{self.number:g}"


def unmet(
    requirements: Collection[Requirement], scores: Mapping[str, float], *, percent: Collection[str] = ()
) -> list[str]:
    """One line for each requirement that the scores do not meet; a score that is nan meets none.

    `percent` are the scores that are given in percent: one of them required to be at least 0.75 is a slip for 75, which
    every model would meet. ValueError for such, and for a name that no score has.
    """
    lines = []
    for each in requirements:
        check_known(each.name, scores, what="no score named")
        if each.name in percent and 0 < each.number <= 1:
            raise ValueError(
                f"{each.name} is in percent, and {each} asks for less than one; write {100 * each.number:g}"
            )
        if not RELATIONS[each.relation](scores[each.name], each.number):
            lines.append(f"required {each}, got {scores[each.name]:.4g}")
    return lines
