"""What tests of several rooms share."""

from collections.abc import Callable
from cProfile import Profile
from math import prod
from typing import Any

import densevit
from densevit.registry import BACKBONES


def own_decoders() -> list[str]:
    """The registered decoders without those that densevit.integrations adds under names such as `mmseg.FCNHead`."""
    return [name for name in densevit.list_decoders() if "." not in name]


def calls(function: Callable[..., Any], run: Callable[[], Any]) -> int:
    """How often a function was entered while `run()` lasted."""
    profile = Profile()
    profile.runcall(run)
    return sum(entry.callcount for entry in profile.getstats() if entry.code is function.__code__)


def smallest_of_families() -> list[str]:
    """The smallest variant of each family, by the width and the number of its blocks, which costs no building."""

    def size(name: str) -> int:
        said = {key: parameter.default for key, parameter in BACKBONES.parameters(name).items()}
        parts = [said[key] for key in ("dim", "dims", "depth", "depths") if key in said]
        return prod(sum(part) if isinstance(part, tuple) else part for part in parts)

    own = [name for name in densevit.list_backbones() if "." not in name]
    families = {}
    for name in sorted(own, key=size, reverse=True):
        families[BACKBONES.family(name)] = name  # a smaller one takes the place of a larger one
    return sorted(families.values())
