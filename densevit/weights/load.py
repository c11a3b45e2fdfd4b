"""Load a checkpoint of any known source into a model, all or nothing, with a report."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from densevit.weights.describe import STEM, Description, describe
from densevit.weights.files import read_checkpoint
from densevit.weights.rename import Translation, guess_source, plain_names, to_ours, to_stages
from densevit.weights.report import LoadReport

logger = logging.getLogger("densevit")

_ADAPTIONS = (None, "sum", "tile")


def load_weights(
    model: nn.Module,
    path: str | Path,
    *,
    source: str | None = None,
    strict: bool = True,
    new_head: bool = False,
    adapt_channels: str | None = None,
) -> LoadReport:
    """Load a checkpoint into a `Segmentor` or a backbone; every check is made before the first value is copied.

    `source` names the key map (see `SOURCES`) and is guessed from the tensors' names when None. `new_head` keeps the
    model's own classifier, for another set of classes. `adapt_channels` fits the first convolution to other input
    channels: "sum" gives each the mean response of the old ones, "tile" repeats the old ones in turn; both keep the
    scale of the output. A backbone takes its part of a whole model's checkpoint.

    Raises ValueError when tensors are missing, unexpected or of other shapes, unless `strict` is False: then what fits
    is loaded and the report says what did not.
    """
    path = Path(path)
    if adapt_channels not in _ADAPTIONS:
        raise ValueError(f"adapt_channels must be None, 'sum' or 'tile', got {adapt_channels!r}")
    state, _ = read_checkpoint(path)
    try:
        source = source or guess_source(state)
        translation = to_ours(state, source)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    target = _our_names(model)
    translation = replace(translation, state=to_stages(translation.state, target))
    translation = _take_part(translation, target)
    if adapt_channels is not None and STEM in target:
        translation = _adapt_stem(translation, target[STEM], how=adapt_channels)
    report = replace(_compare(translation, target, new_head=new_head), source=source)
    if strict and not report.complete:
        raise ValueError(f"{path} does not fit this model: {_explain(report, translation.state, target)}")
    with torch.no_grad():
        for name in report.matched:
            target[name].copy_(translation.state[name])
    logger.log(logging.INFO if report.complete else logging.WARNING, "%s: %s", path.name, report.summary)
    return report


def _our_names(model: nn.Module) -> dict[str, Tensor]:
    """The model's own tensors under the names that they have in a `Segmentor`."""
    own = model.state_dict()
    state = {plain: own[name] for plain, name in plain_names(own).items()}
    if any(tensor.is_meta for tensor in state.values()):
        raise ValueError("the model is on the meta device, which holds no values; call its to_empty(device=...) first")
    whole = any(name.startswith("backbone.") for name in state)
    return state if whole else {f"backbone.{name}": tensor for name, tensor in state.items()}


def _is_backbone(state: Mapping[str, Tensor]) -> bool:
    return all(name.startswith("backbone.") for name in state)


def _take_part(translation: Translation, target: Mapping[str, Tensor]) -> Translation:
    """Leave out decoder and head when the model is a backbone alone."""
    if not _is_backbone(target):
        return translation
    state = {name: tensor for name, tensor in translation.state.items() if name.startswith("backbone.")}
    others = [name for name in translation.state if name not in state]
    return replace(translation, state=state, ignored=translation.ignored + others)


def _adapt_stem(translation: Translation, stem: Tensor, *, how: str) -> Translation:
    """Fit the first convolution (dim, C_old, *kernel) to the model's input channels (dim, C_new, *kernel)."""
    weight = translation.state.get(STEM)
    if weight is None or weight.ndim != stem.ndim or weight.shape[1] == stem.shape[1]:
        return translation
    old, new = weight.shape[1], stem.shape[1]
    if how == "sum":
        adapted = (weight.sum(1, keepdim=True) / new).repeat_interleave(new, 1)
    else:
        adapted = weight[:, torch.arange(new) % old] * (old / new)
    remark = f"{STEM} {tuple(adapted.shape)} from {tuple(weight.shape)} by {how} over channels"
    return replace(translation, state={**translation.state, STEM: adapted}, reshaped=[remark, *translation.reshaped])


def _compare(translation: Translation, target: Mapping[str, Tensor], *, new_head: bool) -> LoadReport:
    found = translation.state
    fresh = [name for name in target if new_head and name.startswith("head.")]
    wanted = [name for name in target if name not in fresh]
    both = [name for name in wanted if name in found]
    fits = {name: found[name].shape == target[name].shape for name in both}
    absent = [name for name in wanted if name not in found and not name.endswith(".num_batches_tracked")]
    return LoadReport(
        source="",
        matched=tuple(name for name in both if fits[name]),
        missing=tuple(absent),
        mismatched=tuple(
            f"{name} {tuple(found[name].shape)} in the file, {tuple(target[name].shape)} in the model"
            for name in both
            if not fits[name]
        ),
        unexpected=(*(name for name in found if name not in target), *translation.unexpected),
        ignored=tuple(translation.ignored),
        reshaped=tuple(translation.reshaped),
        fresh=tuple(fresh),
    )


def _explain(report: LoadReport, state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> str:
    """One sentence: in what the file and the model differ, and what to do."""
    if not state:
        return f"none of its tensors has a name of {report.source!r}; leave the source to be guessed"
    file, model = describe(state), describe(target)
    differing = [field for field in file.differences(model) if not (field == "num_classes" and report.fresh)]
    if "backbones" in differing or "spatial_dims" in differing:
        differing = [field for field in differing if field in ("backbones", "spatial_dims")]
    if differing:
        return " and ".join(_sentence(field, file, model) for field in differing)
    if _is_backbone(state) and not _is_backbone(target):
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
    return f"{counts}; strict=False loads what fits"


def _sentence(field: str, file: Description, model: Description) -> str:
    theirs, ours = getattr(file, field), getattr(model, field)
    return {
        "backbones": lambda: (
            f"this looks like {' or '.join(theirs)}, the model is {' or '.join(ours)}; "
            f"create the model with the backbone {theirs[0]!r}"
        ),
        "spatial_dims": lambda: f"its weights are {theirs}D, the model is {ours}D (spatial_dims={theirs})",
        "in_channels": lambda: (
            f"it takes {theirs} input channels, the model {ours} "
            "(load_weights fits the first layer by adapt_channels='sum' or 'tile')"
        ),
        "num_classes": lambda: (
            f"it has {theirs} classes, the model {ours} (load_weights keeps the model's own head by new_head=True)"
        ),
        "dim": lambda: f"its decoder is {theirs} wide, the model's {ours} (decoder_options=dict(dim={theirs}))",
        "project_norm": lambda: (
            f"its decoder {'has' if theirs else 'lacks'} norms after the projections, the model's "
            f"{'has' if ours else 'lacks'} them (decoder_options=dict(project_norm={theirs}))"
        ),
    }[field]()
