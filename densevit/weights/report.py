"""What a load did, as data and as a table; why a file does not fit a model, in one sentence."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

from torch import Tensor, nn

from densevit.backbones import BACKBONES
from densevit.weights.describe import Description, describe
from densevit.weights.families import family_of, known_families, known_sources
from densevit.weights.family import STEM, Rule
from densevit.weights.names import is_backbone, is_classifier
from densevit.weights.origin import Origin

_SHOWN = 8  # names of one kind in the table
_KINDS = ("missing", "mismatched", "unexpected", "ignored", "reshaped", "inflated", "fresh")
_FITTED = ("image_size", "window_size")  # options whose tables are resized, so that no load fails by them


@dataclass(frozen=True)
class LoadReport:
    """Outcome of `load_weights`. `unexpected` and `ignored` are the file's names, all others the model's."""

    source: str
    matched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()  # wanted, and not in the file
    mismatched: tuple[str, ...] = ()  # of another shape
    unexpected: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()  # without a place in the model by design, such as a classifier of ImageNet
    reshaped: tuple[str, ...] = ()  # came in another shape or size
    inflated: tuple[str, ...] = ()  # came without the model's first axis
    fresh: tuple[str, ...] = ()  # left as they are, on request or because the release has no such tensor
    remarks: tuple[str, ...] = ()  # sentences on what cannot be told from the file
    origin: Origin | None = None  # of the file

    @property
    def complete(self) -> bool:
        """True when the model and the file fit each other."""
        return not (self.missing or self.mismatched or self.unexpected)

    @property
    def summary(self) -> str:
        """One line of counts."""
        total = len(self.matched) + len(self.missing) + len(self.mismatched) + len(self.fresh)
        return f"{self.source}: {len(self.matched)} of {total} tensors matched, " + ", ".join(
            f"{len(getattr(self, kind))} {kind}" for kind in _KINDS
        )

    def __str__(self) -> str:
        lines = [self.summary]
        for kind in _KINDS:
            names = getattr(self, kind)
            lines += [f"  {kind:<10}  {name}" for name in names[:_SHOWN]]
            if len(names) > _SHOWN:
                lines.append(f"  {kind:<10}  ... and {len(names) - _SHOWN} more")
        lines += [f"  remark      {remark}" for remark in self.remarks]
        return "\n".join(lines)


def explain(report: LoadReport, state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> str:
    """In what the file and the model differ, and what to do."""
    if not state:
        return f"none of its tensors has a name of {report.source!r}; leave the source to be guessed"
    ranks = [stem.ndim - 2 for stem in (state.get(STEM), target.get(STEM)) if stem is not None]
    if len(set(ranks)) > 1:
        theirs, ours = ranks
        inflation = ", or load with inflate='center' or 'mean'" if theirs < ours else ""
        return f"its weights are {theirs}D, the model is {ours}D (create it with spatial_dims={theirs}{inflation})"
    file, model = describe(state), describe(target)
    new_head = any(name.startswith(("head.", "class_head.")) for name in report.fresh)
    differing = [field for field in file.differences(model) if not (field == "num_classes" and new_head)]
    if "backbones" in differing:
        return _sentence("backbones", file, model)
    if is_classifier(target) and not is_classifier(state) and not new_head:
        what = "a backbone only" if is_backbone(state) else "a segmentor"
        return f"it holds {what}, and no classifier; new_head=True beside the path keeps the model's own class head"
    if differing:
        return " and ".join(_sentence(field, file, model) for field in differing)
    if is_backbone(state) and not is_backbone(target):
        return (
            "it holds a backbone only; load it with backbone_options=dict(weights=...), "
            "or with strict=False to keep the model's own decoder and head"
        )
    kinds = [(kind, getattr(report, kind)) for kind in ("missing", "mismatched", "unexpected")]
    counts = "; ".join(
        f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for kind, names in kinds
        if names
    )
    return _differing_options(file, model) or f"{counts}; strict=False loads what fits"


def _differing_options(file: Description, model: Description) -> str | None:
    """How the options of the same backbone or decoder differ, if they do."""
    alike = set(file.relatives) & set(model.relatives)
    known = BACKBONES.parameters(file.backbones[0]) if alike else {}
    defaults = {name: parameter.default for name, parameter in known.items()}
    parts = {
        "backbone": (file.told if alike else {}, defaults | model.told),
        "decoder": (file.decoder_options if file.decoder == model.decoder else {}, model.decoder_options),
    }
    for part, (theirs, ours) in parts.items():
        differing = [name for name, value in theirs.items() if value != ours.get(name) and name not in _FITTED]
        if differing:
            theirs, ours = (", ".join(f"{name}={given.get(name)!r}" for name in differing) for given in (theirs, ours))
            mend = f"{part}_options=dict({theirs})" if model.class_head is None else theirs
            return f"its {part} has {theirs}, the model's {ours} ({mend})"
    return None


def _sentence(field: str, file: Description, model: Description) -> str:
    theirs, ours = getattr(file, field), getattr(model, field)
    return {
        "backbones": lambda: (
            f"this looks like {' or '.join(theirs)}, the model is {' or '.join(ours)}; "
            f"create the model with the backbone {theirs[0]!r}"
        ),
        "in_channels": lambda: (
            f"it takes {theirs} input channels, the model {ours} "
            "(adapt_channels='sum' or 'tile' beside the path fits the first layer)"
        ),
        "num_classes": lambda: (
            f"it has {theirs} classes, the model {ours} (new_head=True beside the path keeps the model's own head)"
        ),
        "class_head": lambda: (
            f"its class head is {theirs}, the model's {ours} (create the classifier with {_head_option(theirs, ours)}, "
            "or with new_head=True beside the path keep the model's own head)"
        ),
        "decoder": lambda: f"its decoder is {theirs}, the model's {ours}; create the model with {theirs!r}",
    }[field]()


def _head_option(theirs: str, ours: str) -> str:
    """What gives a classifier a head of the kind `theirs`, where it has one of the kind `ours`."""
    if theirs == "map":
        return "head='map'"
    return f"num_tokens={2 if theirs == 'distilled' else 1}" if "distilled" in (theirs, ours) else "head=None"


# What a network does and no tensor shows, such as the order in which it merges patches, is compared by source: a
# release says with which options of the builder a model gives its maps, our own header which ones a model had.


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
    backbone = str(described.get("backbone"))
    if backbone in BACKBONES:
        rules, known = family_of(backbone).rules, signature(BACKBONES.family(backbone)).parameters
        wanted = {option: known[option].default for option in rules if option in known}
        wanted |= described.get("backbone_options") or {}
    else:
        rules = next(family.rules for family in known_families().values() if source in family.releases)
        wanted = known_sources()[source].options
    return {option: (read, wanted[option]) for option, read in rules.items() if wanted.get(option) is not None}
