"""What a network does and no tensor shows, such as the order in which it merges patches: compared by source.

A release says with which options of the builder a model gives its maps (`Release.options`); our own files say it in
their header. A family says how such an option is read from a model that is built (`Family.rules`).
"""

from collections.abc import Collection, Mapping
from inspect import signature
from typing import Any

from torch import nn

from densevit.backbones import BACKBONES
from densevit.weights.families import family_of, known_families, known_sources
from densevit.weights.family import Rule


def differing_rules(
    modules: Collection[nn.Module], source: str, *, named: bool, described: Mapping[str, Any] | None = None
) -> str | None:
    """Why the model would give other maps than the weights were trained for, in one sentence; None where it would not.

    `named` says that the user named the source; otherwise a release whose files are like those of another one leaves
    the choice to the user. `described` is the model as the header of our own file has it.
    """
    rules = _wanted(source, described or {})
    unsure = known_sources()[source].unsure
    if unsure and not named:  # another value than the usual one was chosen by the user
        return unsure if any(read(modules) == value for read, value in rules.values()) else None
    for option, value in needed_options(modules, source, described=described).items():
        own = rules[option][0](modules)
        return (
            f"its weights need {option}={value!r} and the model has {option}={own!r}, which gives other maps; "
            f"make the backbone with {option}={value!r}"
        )
    return None


def needed_options(
    modules: Collection[nn.Module], source: str, *, described: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Options of the builder that the weights of a source need and the model does not have."""
    rules = _wanted(source, described or {})
    return {option: value for option, (read, value) in rules.items() if read(modules) not in (None, value)}


def _wanted(source: str, described: Mapping[str, Any]) -> dict[str, tuple[Rule, Any]]:
    """For each option that counts: how it is read from a model, and the value that the weights need."""
    backbone, given = str(described.get("backbone")), described.get("backbone_options") or {}
    if backbone in BACKBONES:
        family, defaults = family_of(backbone), signature(BACKBONES.family(backbone)).parameters
        options = {option: given.get(option, defaults[option].default) for option in family.rules}
    else:
        family = next(family for family in known_families().values() if source in family.releases)
        options = known_sources()[source].options
    wanted = {option: options.get(option) for option in family.rules}
    return {option: (family.rules[option], value) for option, value in wanted.items() if value is not None}
