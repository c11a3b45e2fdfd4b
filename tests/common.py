"""What tests of several rooms share."""

from collections.abc import Callable
from cProfile import Profile
from typing import Any

import densevit


def own_decoders() -> list[str]:
    """The registered decoders without those that densevit.integrations adds under names such as `mmseg.FCNHead`."""
    return [name for name in densevit.list_decoders() if "." not in name]


def calls(function: Callable[..., Any], run: Callable[[], Any]) -> int:
    """How often a function was entered while `run()` lasted."""
    profile = Profile()
    profile.runcall(run)
    return sum(entry.callcount for entry in profile.getstats() if entry.code is function.__code__)
