"""Translate the names and shapes of a checkpoint to ours, and back, by the rows of `maps`."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from densevit.registry import hint
from densevit.weights.maps import SOURCES, Names, Row, Source

_PARTS = r"weight|bias|running_mean|running_var|num_batches_tracked"
_PLACEHOLDERS = {
    "{i+1}": r"(?P<i1>\d+)",
    "{i}": r"(?P<i>\d+)",
    "{j}": r"(?P<j>\d+)",
    "{k}": r"(?P<k>\d+)",
    "{p}": f"(?P<p>{_PARTS})",
}


def _pointwise(tensors: list[Tensor]) -> list[Tensor]:
    """1 x 1 convolution -> linear: (O, I, 1, 1) -> (O, I); biases and real kernels stay as they are."""
    return [t.flatten(1) if t.ndim > 2 and set(t.shape[2:]) == {1} else t for t in tensors]


def _unpointwise(tensors: list[Tensor]) -> list[Tensor]:
    return [t[:, :, None, None] if t.ndim == 2 else t for t in tensors]


def _flip_levels(tensors: list[Tensor]) -> list[Tensor]:
    """(dim, levels * dim) -> the same with its blocks of columns in the opposite order."""
    return [torch.cat(t.split(t.shape[0], dim=1)[::-1], dim=1) for t in tensors]


def _split_qkv(tensors: list[Tensor]) -> list[Tensor]:
    return list(tensors[0].split([len(tensors[0]) // 3, len(tensors[0]) - len(tensors[0]) // 3]))


Operation = Callable[[list[Tensor]], list[Tensor]]
# Name -> (theirs to ours, ours to theirs), both on the list of tensors of one row.
OPERATIONS: dict[str, tuple[Operation, Operation]] = {
    "same": (lambda tensors: tensors, lambda tensors: tensors),
    "pointwise": (_pointwise, _unpointwise),
    "pointwise_finest_first": (lambda t: _flip_levels(_pointwise(t)), lambda t: _unpointwise(_flip_levels(t))),
    "join": (lambda tensors: [torch.cat(tensors)], lambda tensors: list(tensors[0].chunk(2))),
    "split_qkv": (_split_qkv, lambda tensors: [torch.cat(tensors)]),
}


@dataclass(frozen=True)
class Rule:
    """Tensors of these names, put through the operation, are the tensors of those names."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operation: Operation


@dataclass(frozen=True)
class Translation:
    """A state dict under other names, with the names that found no place and a remark on each reshaped tensor."""

    state: dict[str, Tensor] = field(default_factory=dict)
    reshaped: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)


def guess_source(state: Mapping[str, Tensor]) -> str:
    """Name of the release that a state dict comes from; ValueError when no key map fits."""
    names = plain_names(state)
    shapes = {plain: tuple(state[name].shape) for plain, name in names.items()}
    for name, source in SOURCES.items():
        if source.is_it(shapes):
            return name
    known = "; ".join(f"{name} ({source.title})" for name, source in SOURCES.items())
    some = ", ".join(list(state)[:3]) or "none"
    raise ValueError(f"the names of these tensors ({some}, ...) fit no key map; known sources: {known}")


def plain_names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Names without the `module.` of data-parallel training and torch.compile's `_orig_mod.` -> names as they are."""
    return {name.replace("_orig_mod.", "").removeprefix("module."): name for name in state}


def to_ours(state: Mapping[str, Tensor], source: str) -> Translation:
    """Translate a release's state dict to the names of a `Segmentor`: `backbone.*`, `decoder.*`, `head.*`."""
    names = plain_names(state)
    shapes = {plain: tuple(state[name].shape) for plain, name in names.items()}
    candidates = get_sources(source)
    spec = next((candidate for candidate in candidates if candidate.is_it(shapes)), candidates[0])
    if not spec.backbone:  # our own names: only a backbone saved alone lacks its prefix
        prefix = "" if any(name.startswith(spec.prefix) for name in names) else spec.prefix
        return Translation({prefix + plain: state[name] for plain, name in names.items()})
    cleaned = {_clean(plain, spec): state[name] for plain, name in names.items()}
    state, left, reshaped = _translate(cleaned, _rules(spec, prefix=""))
    ignored = [name for name in left if any(re.match(pattern, name) for pattern in spec.ignored)]
    return Translation(state, reshaped, ignored, [name for name in left if name not in ignored])


def to_theirs(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Translate our state dict (2D, of a `Segmentor`, or of a backbone alone) to a release's names.

    Raises ValueError when a tensor has no place there.
    """
    whole = any(name.startswith("backbone.") for name in state)
    ours = state if whole else {f"backbone.{name}": tensor for name, tensor in state.items()}
    left: list[str] = []
    for spec in get_sources(source):
        if not spec.backbone:
            return dict(state)
        counted = count_through(ours) if _counts_through(spec) else ours
        theirs, left, _ = _translate(counted, _reversed_rules(spec, prefix=spec.prefix if whole else ""))
        if not left:
            return theirs
    raise ValueError(f"{source} has no place for {', '.join(left[:3])}{', ...' if len(left) > 3 else ''}")


def get_sources(name: str) -> list[Source]:
    """The release called `name`, or all of a publisher (`timm`); ValueError with the nearest known names."""
    found = [source for known, source in SOURCES.items() if known == name or known.startswith(f"{name}_")]
    if not found:
        raise ValueError(f"no source named {name!r}; {hint(name, list(SOURCES))}")
    return [SOURCES[name]] if name in SOURCES else found


_STAGED = re.compile(r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.(.+)")
_COUNTED = re.compile(r"backbone\.blocks\.(\d+)\.(.+)")


def to_stages(state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Give blocks that are counted through (`backbone.blocks.{k}`) the stages that a model with these names has."""
    places = sorted({(int(m[1]), int(m[2])) for name in names if (m := _STAGED.fullmatch(name))})

    def staged(name: str) -> str:
        m = _COUNTED.fullmatch(name)
        if m is None or int(m[1]) >= len(places):
            return name
        i, j = places[int(m[1])]
        return f"backbone.stages.{i}.blocks.{j}.{m[2]}"

    return {staged(name): tensor for name, tensor in state.items()}


def count_through(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `to_stages`: `backbone.stages.{i}.blocks.{j}` becomes `backbone.blocks.{k}`."""
    found = {name: m for name in state if (m := _STAGED.fullmatch(name))}
    places = sorted({(int(m[1]), int(m[2])) for m in found.values()})
    counted = {name: f"backbone.blocks.{places.index((int(m[1]), int(m[2])))}.{m[3]}" for name, m in found.items()}
    return {counted.get(name, name): tensor for name, tensor in state.items()}


def _counts_through(source: Source) -> bool:
    return any("{k}" in name for row in source.backbone for name in ((row[1],) if isinstance(row[1], str) else row[1]))


def _clean(name: str, source: Source) -> str:
    for pattern, replacement in source.cleanups:
        name = re.sub(pattern, replacement, name)
    return name.removeprefix(source.prefix)


def _rules(source: Source, *, prefix: str) -> list[Rule]:
    """A source's rows with full names of parameters: ours with `backbone.`, theirs with `prefix`."""
    rules = [_rule(row, theirs=prefix, ours="backbone.") for row in source.backbone]
    return rules + [_rule(row, theirs="", ours="") for row in source.decoder]


def _rule(row: Row, *, theirs: str, ours: str) -> Rule:
    def full(names: Names, prefix: str) -> tuple[str, ...]:
        names = (names,) if isinstance(names, str) else names
        return tuple(prefix + name + ("" if "{p}" in name else ".{p}") for name in names)

    operation, _ = OPERATIONS[row[2] if len(row) == 3 else "same"]
    return Rule(full(row[0], theirs), full(row[1], ours), operation)


def _reversed_rules(source: Source, *, prefix: str) -> list[Rule]:
    inverse = dict(OPERATIONS.values())
    return [Rule(r.outputs, r.inputs, inverse[r.operation]) for r in _rules(source, prefix=prefix)]


def _translate(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Translated state, the names that no rule (or only half a rule) fits, remarks on tensors of another shape."""
    inputs = [(re.compile(_pattern(name)), rule, k) for rule in rules for k, name in enumerate(rule.inputs)]
    groups: dict[tuple, dict[int, str]] = {}  # (rule, stage, block, part) -> position among the inputs -> name
    left = []
    for name in state:
        found = next(((rule, k, m) for pattern, rule, k in inputs if (m := pattern.fullmatch(name))), None)
        if found is None:
            left.append(name)
        else:
            rule, k, m = found
            groups.setdefault((rule, *_captured(m)), {})[k] = name
    translated, reshaped = {}, []
    for (rule, *captured), names in groups.items():
        if len(names) < len(rule.inputs):
            left.extend(names.values())
            continue
        targets = [_fill(name, *captured) for name in rule.outputs]
        before = {names[k]: state[names[k]] for k in range(len(names))}
        after = _operate(rule, targets, before)
        translated.update(after)
        if [t.shape for t in after.values()] != [t.shape for t in before.values()]:
            reshaped.append(f"{_list_shapes(after)} from {_list_shapes(before)}")
    return translated, left, reshaped


def _operate(rule: Rule, targets: Sequence[str], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    try:
        return dict(zip(targets, rule.operation(list(tensors.values())), strict=True))
    except (RuntimeError, IndexError) as error:
        raise ValueError(f"cannot make {' and '.join(targets)} from {_list_shapes(tensors)}: {error}") from error


def _list_shapes(tensors: Mapping[str, Tensor]) -> str:
    return " and ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())


def _pattern(name: str) -> str:
    pattern = re.escape(name)
    for placeholder, expression in _PLACEHOLDERS.items():
        pattern = pattern.replace(re.escape(placeholder), expression)
    return pattern


def _captured(m: re.Match) -> tuple[int | None, str | None, str | None, str]:
    """(stage counted from 0, block of the stage, block counted through, part) of a name."""
    found = m.groupdict()
    stage = int(found["i1"]) - 1 if "i1" in found else int(found["i"]) if "i" in found else None
    return stage, found.get("j"), found.get("k"), found["p"]


def _fill(name: str, stage: int | None, block: str | None, counted: str | None, part: str) -> str:
    values = {"{i+1}": stage + 1, "{i}": stage} if stage is not None else {}
    for placeholder, value in {**values, "{j}": block, "{k}": counted, "{p}": part}.items():
        name = name.replace(placeholder, str(value))
    return name
