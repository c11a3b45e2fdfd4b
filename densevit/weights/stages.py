"""Blocks that a release counts through, and the stages that a model of ours gives them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

_STAGED = re.compile(r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.(.+)")
_COUNTED = re.compile(r"backbone\.blocks\.(\d+)\.(.+)")
_LEVEL_NORM = re.compile(r"^backbone\.out_norms\.\d+\.")


def to_stages(state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Give blocks that are counted through (`backbone.blocks.{k}`) the stages that a model with these names has.

    The final norm (`backbone.norm`) goes to every level that has one (`backbone.out_norms.{i}`).
    """
    names = list(names)
    places = sorted({(int(m[1]), int(m[2])) for name in names if (m := _STAGED.fullmatch(name))})

    def staged(name: str) -> list[str]:
        m = _COUNTED.fullmatch(name)
        if m is not None and int(m[1]) < len(places):
            i, j = places[int(m[1])]
            return [f"backbone.stages.{i}.blocks.{j}.{m[2]}"]
        levels = names if name.startswith("backbone.norm.") else []
        return [level for level in levels if _LEVEL_NORM.sub("backbone.norm.", level) == name] or [name]

    return {ours: tensor for name, tensor in state.items() for ours in staged(name)}


def count_through(state: Mapping[str, Any], *, norm: bool = False) -> dict[str, Any]:
    """The inverse of `to_stages`: `backbone.stages.{i}.blocks.{j}` becomes `backbone.blocks.{k}`.

    With `norm`, the levels' norms, which are then all the same, become `backbone.norm`.
    """
    found = {name: m for name in state if (m := _STAGED.fullmatch(name))}
    places = sorted({(int(m[1]), int(m[2])) for m in found.values()})
    count = {place: k for k, place in enumerate(places)}
    counted = {name: f"backbone.blocks.{count[int(m[1]), int(m[2])]}.{m[3]}" for name, m in found.items()}
    if norm:
        counted |= {name: _LEVEL_NORM.sub("backbone.norm.", name) for name in state if name not in found}
    return {counted.get(name, name): tensor for name, tensor in state.items()}
