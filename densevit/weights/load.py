"""Load a checkpoint of any known source into a model, all or nothing, with a report."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densevit.quoting import shown
from densevit.weights.adapt import CHANNELS, INFLATIONS, adapt
from densevit.weights.families import known_sources
from densevit.weights.files import read_checkpoint
from densevit.weights.named import Fetched, fetch_weights, locate
from densevit.weights.names import (
    CLASS_TOKENS,
    UNREAD,
    Target,
    is_backbone,
    is_classifier,
    is_like,
    is_neck,
    is_of_texts,
    plain_names,
    target_of,
    to_stages,
)
from densevit.weights.origin import say_licence
from densevit.weights.rename import Translation, guess_source, to_ours
from densevit.weights.report import LoadReport, differing_rules, explain

logger = logging.getLogger("densevit")
Given = str | Path | Mapping[str, Any]
FETCHING = ("revision", "sha256", "file", "commercial")  # keywords of `fetch_weights` among those of `load_given`


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What a config may hold: a file or published weights by name, how they are fetched, and how they are loaded.

    `path` is a file or a name, `name` a name alone; `revision`, `sha256`, `file` and `commercial` are of
    `fetch_weights`, the others of `load_weights`.
    """

    path: str | None = None
    name: str | None = None
    revision: str | None = None
    sha256: str | None = None
    file: str | None = None
    commercial: bool = False
    source: str | None = None
    strict: bool = True
    new_head: bool = False
    adapt_channels: str | None = None
    inflate: str | None = None

    def __post_init__(self) -> None:
        _check_options(self.adapt_channels, self.inflate)
        if (self.path is None) is (self.name is None):
            raise ValueError("needs one of the keys path (a file) and name (published weights)")


def load_weights(
    model: nn.Module,
    path: str | Path | Fetched,
    *,
    source: str | None = None,
    strict: bool = True,
    new_head: bool = False,
    adapt_channels: str | None = None,
    inflate: str | None = None,
    state: Mapping[str, Tensor] | None = None,
) -> LoadReport:
    """Load a checkpoint into a `Segmentor`, a `Classifier` (or `Clip`) or a backbone; all checks come before any value.

    `path` is a file, the name of published weights (see `list_weights`), or what `fetch_weights` gave.
    `source` names the key map (see `known_sources`), or a publisher for any of its maps; None guesses it from tensors'
    names. `new_head` keeps the model's own classifier, for another set of classes; a `Classifier` then takes the
    backbone of any file. `adapt_channels` fits the first convolution to other input channels: "sum" gives each the mean
    response of the old ones, "tile" repeats the old ones in turn; both keep the scale of the output. `inflate` fits
    weights of pictures to a model of volumes: "center" puts each kernel in the middle of the new axis, "mean" spreads
    it over that axis. A backbone takes its part of a whole model's checkpoint, and keeps its own neck where that has
    none; position and relative-bias tables are resized to the model's. `state` are the tensors of `path`, read before.

    Raises ValueError when tensors are missing, unexpected or of other shapes, hold values that are not numbers, or were
    trained by a network that does something else with them (`Release.options`), unless `strict` is False: then what
    fits is loaded and the report says what did not.
    """
    target = target_of(model)
    _check_options(adapt_channels, inflate)
    fetched = path if isinstance(path, Fetched) else locate(path) if state is None else Fetched(Path(path))
    path, known = fetched.path, fetched.origin
    state, meta = read_checkpoint(path) if state is None else (state, {})
    asked = source = source or (None if known is None else known.source)
    try:
        source = guess_source(state, among=asked)
        translation = to_ours(state, source, class_head=target.classifies and not new_head, texts=target.reads_texts)
        described = meta.get("model") if source == "densevit" else None
        alone = isinstance(described, Mapping) and bool(described.get("features_only"))
        translation = _take_part(translation, target, new_head=new_head, of_backbone=alone)
        translation = adapt(translation, target, channels=adapt_channels, inflate=inflate)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    origin = fetched.origin_when_read(meta, source)
    report = replace(_compare(translation, target, new_head=new_head), source=source, origin=origin)
    if strict and not report.complete:
        raise ValueError(f"{path} does not fit this model: {explain(report, translation.state, target.tensors)}")
    doubts = [
        differing_rules(target.modules.values(), source, named=asked == source, described=described),
        find_broken({name: translation.state[name] for name in report.matched}),
    ]
    if strict and any(doubts):
        raise ValueError(f"{path} was not loaded: {next(filter(None, doubts))} (strict=False loads it all the same)")
    hints = () if asked == source else _hints(state, source)
    report = replace(report, remarks=(*report.remarks, *hints, *filter(None, doubts)))
    with torch.no_grad():
        for name in report.matched:
            target.tensors[name].copy_(translation.state[name])
    _log(report, path)
    say_licence(origin)
    return report


def load_given(model: nn.Module, weights: Given, *, backbone: str | None = None, decoder: str | None = None) -> None:
    """Load a file or published weights, which `weights` names; the model keeps (name, report) in `load_reports`.

    `weights` may be a dictionary of the keywords of `fetch_weights` and `load_weights`; `backbone` and `decoder` say of
    what short names such as "imagenet" are meant.
    """
    given = dict(weights) if isinstance(weights, Mapping) else {"path": weights}
    path, name = given.pop("path", None), given.pop("name", None)
    if (path is None) is (name is None):
        raise ValueError(
            f"weights must hold the path of a file or the name of published weights, got {shown(dict(weights))}"
        )
    choice = dict(backbone=backbone, decoder=decoder) | {key: given.pop(key) for key in FETCHING if key in given}
    fetched = locate(path, **choice) if name is None else fetch_weights(name, **choice)  # no file is meant by a name
    report = load_weights(model, fetched, **given)
    vars(model).setdefault("load_reports", []).append((fetched.name, report))


def find_broken(tensors: Mapping[str, Tensor]) -> str | None:
    """Which of the tensors hold infinity or what is no number, in one sentence; None where all are numbers."""
    floating = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    broken = [name for name, t in floating.items() if not t.sum().isfinite() and not t.isfinite().all()]
    if not broken:
        return None
    more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
    return (
        f"{broken[0]}{more} of its tensors hold values that are not finite numbers, as after a training that diverged"
    )


def _hints(state: Mapping[str, Tensor], source: str) -> tuple[str, ...]:
    """What a release says of files of these names, where the user did not name the source."""
    shapes = {plain: tuple(state[name].shape) for plain, name in plain_names(state).items()}
    return tuple(sentence for applies, sentence in known_sources()[source].remarks_if if applies(shapes))


def _log(report: LoadReport, path: Path) -> None:
    logger.log(logging.INFO if report.complete else logging.WARNING, "%s: %s", path.name, report.summary)
    for remark in report.remarks:
        logger.warning("%s: %s", path.name, remark)


def _check_options(channels: str | None, inflate: str | None) -> None:
    if channels not in CHANNELS:
        raise ValueError(f"adapt_channels must be None, 'sum' or 'tile', got {channels!r}")
    if inflate not in INFLATIONS:
        raise ValueError(f"inflate must be None, 'center' or 'mean', got {inflate!r}")


def _take_part(translation: Translation, target: Target, *, new_head: bool, of_backbone: bool) -> Translation:
    """Leave out what the model is not made to hold: what is beside the backbone or a segmentor, tensors it may lack.

    Blocks that a release counts through get the model's stages first. Only classifiers need class tokens, and only
    other models what no class head reads.
    """
    staged, alone = to_stages(translation.state, target.tensors), is_backbone(target.tensors)
    of_classifier = is_classifier(staged) or of_backbone  # what saw images as a whole
    lacking = (
        *translation.absent,
        *(UNREAD if target.classifies else ()),
        *(CLASS_TOKENS if of_classifier and not target.classifies else ()),
    )
    unused = () if not target.classifies else ("head.", "decoder.", "class_head.") if new_head else ()
    left_out = {
        name
        for name in staged
        if (alone and not name.startswith("backbone."))
        or name.startswith(unused)
        or (name.startswith("class_head.") and not target.classifies)
        or (is_of_texts(name) and not target.reads_texts)
        or (name not in target.tensors and is_like(name, lacking))
    }
    state = {name: tensor for name, tensor in staged.items() if name not in left_out}
    others = [name for name in staged if name in left_out]
    absent = (*translation.absent, *(UNREAD if of_classifier else ()))
    return replace(translation, state=state, ignored=translation.ignored + others, absent=absent)


def _compare(translation: Translation, target: Target, *, new_head: bool) -> LoadReport:
    found, own = translation.state, target.tensors
    fresh = [name for name in own if new_head and name.startswith(("head.", "class_head."))]
    both = [name for name in own if name in found and name not in fresh]
    alone = [name for name in own if name not in found and not name.endswith(".num_batches_tracked")]
    fresh += [name for name in alone if name not in fresh and is_like(name, translation.absent)]
    if is_backbone(own) and not any(map(is_neck, found)):
        fresh += filter(is_neck, alone)
    fits = {name: found[name].shape == own[name].shape for name in both}
    return LoadReport(
        source="",
        matched=tuple(name for name in both if fits[name]),
        missing=tuple(name for name in alone if name not in fresh),
        mismatched=tuple(
            f"{name} {tuple(found[name].shape)} in the file, {tuple(own[name].shape)} in the model"
            for name in both
            if not fits[name]
        ),
        unexpected=(*(name for name in found if name not in own), *translation.unexpected),
        ignored=tuple(translation.ignored),
        reshaped=tuple(translation.reshaped),
        inflated=tuple(translation.inflated),
        fresh=tuple(fresh),
        remarks=tuple(translation.remarks),
    )
