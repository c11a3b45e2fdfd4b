"""Translate the names and shapes of a checkpoint to ours, and back, by the rows of its release."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from torch import Tensor

from densevit.registry import check_known
from densevit.weights.families import known_sources
from densevit.weights.family import Names, Release
from densevit.weights.names import count_through, is_like, plain_names
from densevit.weights.operations import OPERATIONS, Operation

_PARTS = r"weight|bias|running_mean|running_var|num_batches_tracked"
_PLACEHOLDERS = {
    "{i+1}": r"(?P<i1>\d+)",
    "{i}": r"(?P<i>\d+)",
    "{j+1:02}": r"(?P<j1>\d\d+)",
    "{j+1}": r"(?P<j1>\d+)",
    "{j}": r"(?P<j>\d+)",
    "{k}": r"(?P<k>\d+)",
    "{k+3}": r"(?P<k3>\d+)",
    "{p}": f"(?P<p>{_PARTS})",
}
_COUNTED_FROM = dict(i=1, j=1, k=3)  # in {i+1}, {j+1} and {k+3}


@dataclass(frozen=True)
class Translation:
    """A state dict under other names, with the names that found no place and a remark on each reshaped tensor.

    `absent` are patterns of names that it, or the model, may lack; `remarks` are the source's.
    """

    state: dict[str, Tensor] = field(default_factory=dict)
    reshaped: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    inflated: list[str] = field(default_factory=list)
    absent: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def guess_source(state: Mapping[str, Tensor], *, among: str | None = None) -> str:
    """Name of the release that a state dict comes from; ValueError when no key map fits.

    `among` is a source, which is then the answer, or a publisher (`timm`): the first of its maps when none fits.
    """
    sources = known_sources() if among is None else _get_sources(among)
    shapes = {plain: tuple(state[name].shape) for plain, name in plain_names(state).items()}
    for name, source in sources.items():
        if source.is_it(shapes):
            return name
    if among is not None:
        return next(iter(sources))
    known = "; ".join(f"{name} ({source.title})" for name, source in known_sources().items())
    some = ", ".join(list(state)[:3]) or "none"
    raise ValueError(f"the names of these tensors ({some}, ...) fit no key map; known sources: {known}")


def _get_sources(name: str) -> dict[str, Release]:
    """The release called `name`, or all of a publisher (`timm`); ValueError with the nearest known names."""
    if name in known_sources():
        return {name: known_sources()[name]}
    found = {known: source for known, source in known_sources().items() if known.startswith(f"{name}_")}
    if not found:
        check_known(name, known_sources(), what="no source named")
    return found


def to_ours(state: Mapping[str, Tensor], source: str, *, class_head: bool = True, texts: bool = False) -> Translation:
    """Translate a release's state dict to our names: `backbone.*`, `decoder.*`, `head.*`, `class_head.*`, `text.*`.

    Without `class_head`, what is of a classifier's head is ignored, and without `texts` a CLIP's encoder of texts.
    """
    spec, cleaned = known_sources()[guess_source(state, among=source)], {}
    for plain, name in plain_names(state).items():
        for pattern, replacement in spec.cleanups:
            plain = re.sub(pattern, replacement, plain)
        cleaned[plain] = state[name]
    if not spec.backbone:  # our own names: only a backbone saved alone lacks its prefix
        prefix = "" if any(name.startswith(spec.prefix) for name in cleaned) else spec.prefix
        return Translation({prefix + name: tensor for name, tensor in cleaned.items()})
    cleaned = {name.removeprefix(spec.prefix): tensor for name, tensor in cleaned.items()}
    of_head = replace(spec, backbone=(), decoder=())
    spec = replace(spec, class_head=spec.class_head if class_head else (), texts=spec.texts if texts else ())
    state, left, reshaped = _translate(cleaned, _rules(spec))
    unknown = _translate({name: cleaned[name] for name in left}, _rules(of_head))[1]
    ignored = [name for name in left if name not in unknown or is_like(name, spec.ignored)]
    unexpected = [name for name in left if name not in ignored]
    return Translation(state, reshaped, ignored, unexpected, absent=spec.absent, remarks=spec.remarks)


def to_theirs(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Translate our state dict (2D, of a `Segmentor`, or of a backbone alone) to a release's names.

    Left out is what such a release lacks by design (`Release.absent`). Raises ValueError when anything else has no
    place there.
    """
    whole = any(name.startswith("backbone.") for name in state)
    ours = state if whole else {f"backbone.{name}": tensor for name, tensor in state.items()}
    left: list[str] = []
    found: dict[str, dict[str, Tensor]] = {}  # by those of the publisher's maps that have a place for everything
    for key, spec in _get_sources(source).items():
        if not spec.backbone:
            return dict(state)
        names = [name for row in spec.backbone for name in _tuple(row[1])]
        has_norm = any(name.partition(".")[0] == "norm" for name in names)
        counted = count_through(ours, norm=has_norm) if any("{k}" in name for name in names) else ours
        rules = _rules(spec, prefix=spec.prefix if whole else "", back=True)
        theirs, alone, _ = _translate(counted, rules)
        left = [name for name in alone if not is_like(name, spec.absent)]
        if not left:
            found[key] = theirs
    for key, theirs in found.items():
        if guess_source(theirs, among=source) == key:  # which the files of another family's map would not be
            return theirs
    if found:
        return next(iter(found.values()))
    raise ValueError(f"{source} has no place for {', '.join(left[:3])}{', ...' if len(left) > 3 else ''}")


class Rule(NamedTuple):
    """Tensors of these names, put through the operation, are the tensors of those names."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operation: Operation


def _rules(release: Release, *, prefix: str = "", back: bool = False) -> list[Rule]:
    """Its rows with full names of parameters: ours with `backbone.`, theirs with `prefix`; `back` goes to theirs."""
    rows = [(row, prefix, "backbone.") for row in release.backbone]
    rows += [(row, "", "") for row in (*release.decoder, *release.class_head, *release.texts)]
    rules = []
    for (theirs, ours, *named), before_theirs, before_ours in rows:
        operations = OPERATIONS[named[0] if named else "same"]
        inputs, outputs = _full(theirs, before_theirs), _full(ours, before_ours)
        rules.append(Rule(outputs, inputs, operations[1]) if back else Rule(inputs, outputs, operations[0]))
    return rules


def _full(names: Names, prefix: str) -> tuple[str, ...]:
    return tuple(
        prefix + (name[:-1] if name[-1] == "!" else name if "{p}" in name else f"{name}.{{p}}")
        for name in _tuple(names)
    )


def _tuple(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _translate(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Translated state, the names that no rule fits as a whole, remarks on tensors of another shape.

    The first rule that fits a name counts, or a later one where the file lacks other tensors of the first.
    """
    inputs = [(re.compile(_pattern(name)), rule, k) for rule in rules for k, name in enumerate(rule.inputs)]
    groups: dict[tuple, dict[int, str]] = {}  # (rule, what its placeholders stand for) -> position -> name
    left, translated, reshaped, halves = [], {}, [], {}
    for name in state:
        found = next(((rule, k, m) for pattern, rule, k in inputs if (m := pattern.fullmatch(name))), None)
        if found is None:
            left.append(name)
        else:
            rule, k, m = found
            groups.setdefault((rule, _captured(m)), {})[k] = name
    for (rule, captured), names in groups.items():
        if len(names) < len(rule.inputs):
            halves.update(dict.fromkeys(names.values(), rule))
            continue
        before = {names[k]: state[names[k]] for k in range(len(names))}
        after = _operate(rule, [_fill(name, dict(captured)) for name in rule.outputs], before)
        translated.update(after)
        if [t.shape for t in after.values()] != [t.shape for t in before.values()]:
            reshaped.append(f"{_list_shapes(after)} from {_list_shapes(before)}")
    if halves:
        others = [rule for rule in rules if rule not in halves.values()]
        more = _translate({name: state[name] for name in halves}, others)
        return translated | more[0], left + more[1], reshaped + more[2]
    return translated, left, reshaped


def _operate(rule: Rule, targets: Sequence[str], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    try:
        return dict(zip(targets, rule.operation(list(tensors.values())), strict=True))
    except (RuntimeError, IndexError) as error:
        raise ValueError(f"cannot make {' and '.join(targets)} from {_list_shapes(tensors)}: {error}") from error


def _list_shapes(tensors: Mapping[str, Tensor]) -> str:
    return " and ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())


def _pattern(name: str) -> str:
    parts = re.split(r"(\{.+?\})", name)
    return "".join(_PLACEHOLDERS.get(part, re.escape(part)) for part in parts)


def _captured(m: re.Match) -> tuple[tuple[str, str], ...]:
    """What the placeholders stand for, stages and blocks counted from 0."""
    found = m.groupdict()
    for name, first in _COUNTED_FROM.items():
        if f"{name}{first}" in found:
            found[name] = str(int(found.pop(f"{name}{first}")) - first)
    return tuple(found.items())


def _fill(name: str, values: Mapping[str, str]) -> str:
    for counted, first in _COUNTED_FROM.items():
        if counted in values:
            number = int(values[counted]) + first
            name = name.replace(f"{{{counted}+{first}}}", str(number))
            name = name.replace(f"{{{counted}+{first}:02}}", f"{number:02}")
    for placeholder, value in values.items():
        name = name.replace(f"{{{placeholder}}}", value)
    return name
