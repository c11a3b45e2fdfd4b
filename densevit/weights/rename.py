"""Translate the names and shapes of a checkpoint to ours, and back, by the rows of its release."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from densevit.registry import check_known
from densevit.weights.families import known_sources
from densevit.weights.family import Names, Release, Row
from densevit.weights.operations import OPERATIONS, Operation
from densevit.weights.stages import count_through

_PARTS = r"weight|bias|running_mean|running_var|num_batches_tracked"
_PLACEHOLDERS = {
    "{i+1}": r"(?P<i1>\d+)",
    "{i}": r"(?P<i>\d+)",
    "{j}": r"(?P<j>\d+)",
    "{k}": r"(?P<k>\d+)",
    "{p}": f"(?P<p>{_PARTS})",
}


@dataclass(frozen=True)
class Rule:
    """Tensors of these names, put through the operation, are the tensors of those names."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operation: Operation


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
    sources = known_sources() if among is None else get_sources(among)
    names = plain_names(state)
    shapes = {plain: tuple(state[name].shape) for plain, name in names.items()}
    for name, source in sources.items():
        if source.is_it(shapes):
            return name
    if among is not None:
        return next(iter(sources))
    known = "; ".join(f"{name} ({source.title})" for name, source in known_sources().items())
    some = ", ".join(list(state)[:3]) or "none"
    raise ValueError(f"the names of these tensors ({some}, ...) fit no key map; known sources: {known}")


def plain_names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Names without the `module.` of data-parallel training, torch.compile's `_orig_mod.` and the `model.` of a model
    inside one of Lightning -> names as they are."""
    return {name.replace("_orig_mod.", "").removeprefix("module.").removeprefix("model."): name for name in state}


def to_ours(state: Mapping[str, Tensor], source: str) -> Translation:
    """Translate a release's state dict to the names of a `Segmentor`: `backbone.*`, `decoder.*`, `head.*`."""
    names = plain_names(state)
    spec = known_sources()[guess_source(state, among=source)]
    if not spec.backbone:  # our own names: only a backbone saved alone lacks its prefix
        prefix = "" if any(name.startswith(spec.prefix) for name in names) else spec.prefix
        return Translation({prefix + _replaced(plain, spec): state[name] for plain, name in names.items()})
    cleaned = {_clean(plain, spec): state[name] for plain, name in names.items()}
    state, left, reshaped = _translate(cleaned, _rules(spec, prefix=""))
    ignored = [name for name in left if is_like(name, spec.ignored)]
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
    for spec in get_sources(source).values():
        if not spec.backbone:
            return dict(state)
        counted = count_through(ours, norm=_has_one_norm(spec)) if _counts_through(spec) else ours
        theirs, alone, _ = _translate(counted, _reversed_rules(spec, prefix=spec.prefix if whole else ""))
        left = [name for name in alone if not is_like(name, spec.absent)]
        if not left:
            return theirs
    raise ValueError(f"{source} has no place for {', '.join(left[:3])}{', ...' if len(left) > 3 else ''}")


def get_sources(name: str) -> dict[str, Release]:
    """The release called `name`, or all of a publisher (`timm`); ValueError with the nearest known names."""
    if name in known_sources():
        return {name: known_sources()[name]}
    found = {known: source for known, source in known_sources().items() if known.startswith(f"{name}_")}
    if not found:
        check_known(name, known_sources(), what="no source named")
    return found


def is_like(name: str, patterns: Iterable[str]) -> bool:
    """True when the name begins with one of the patterns."""
    return any(re.match(pattern, name) for pattern in patterns)


def _counts_through(source: Release) -> bool:
    return any("{k}" in name for row in source.backbone for name in ((row[1],) if isinstance(row[1], str) else row[1]))


def _has_one_norm(source: Release) -> bool:
    return any(row[1] == "norm" for row in source.backbone)


def _clean(name: str, source: Release) -> str:
    return _replaced(name, source).removeprefix(source.prefix)


def _replaced(name: str, source: Release) -> str:
    for pattern, replacement in source.cleanups:
        name = re.sub(pattern, replacement, name)
    return name


def _rules(source: Release, *, prefix: str) -> list[Rule]:
    """A source's rows with full names of parameters: ours with `backbone.`, theirs with `prefix`."""
    rules = [_rule(row, theirs=prefix, ours="backbone.") for row in source.backbone]
    return rules + [_rule(row, theirs="", ours="") for row in source.decoder]


def _rule(row: Row, *, theirs: str, ours: str) -> Rule:
    def full(names: Names, prefix: str) -> tuple[str, ...]:
        names = (names,) if isinstance(names, str) else names
        return tuple(prefix + (name[:-1] if name[-1] == "!" else _with_part(name)) for name in names)

    operation, _ = OPERATIONS[row[2] if len(row) == 3 else "same"]
    return Rule(full(row[0], theirs), full(row[1], ours), operation)


def _with_part(name: str) -> str:
    return name if "{p}" in name else f"{name}.{{p}}"


def _reversed_rules(source: Release, *, prefix: str) -> list[Rule]:
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


def _captured(m: re.Match) -> tuple[int | None, str | None, str | None, str | None]:
    """(stage counted from 0, block of the stage, block counted through, part) of a name."""
    found = m.groupdict()
    stage = int(found["i1"]) - 1 if "i1" in found else int(found["i"]) if "i" in found else None
    return stage, found.get("j"), found.get("k"), found.get("p")


def _fill(name: str, stage: int | None, block: str | None, counted: str | None, part: str | None) -> str:
    values = {"{i+1}": stage + 1, "{i}": stage} if stage is not None else {}
    for placeholder, value in {**values, "{j}": block, "{k}": counted, "{p}": part}.items():
        name = name.replace(placeholder, str(value))
    return name
