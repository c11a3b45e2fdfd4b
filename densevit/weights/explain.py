"""One sentence on what a checkpoint and a model differ in, and what to do about it."""

from collections.abc import Mapping

from torch import Tensor

from densevit.weights.describe import Description, describe
from densevit.weights.report import LoadReport
from densevit.weights.shapes import STEM
from densevit.weights.target import is_backbone


def explain(report: LoadReport, state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> str:
    """One sentence: in what the file and the model differ, and what to do."""
    if not state:
        return f"none of its tensors has a name of {report.source!r}; leave the source to be guessed"
    ranks = [stem.ndim - 2 for stem in (state.get(STEM), target.get(STEM)) if stem is not None]
    if len(set(ranks)) > 1:
        return _ranks(*ranks)
    file, model = describe(state), describe(target)
    new_head = any(name.startswith("head.") for name in report.fresh)
    differing = [field for field in file.differences(model) if not (field == "num_classes" and new_head)]
    if "backbones" in differing:
        differing = ["backbones"]
    if differing:
        return " and ".join(_sentence(field, file, model) for field in differing)
    if is_backbone(state) and not is_backbone(target):
        return (
            "it holds a backbone only; load it with backbone_options=dict(weights=...), "
            "or with strict=False to keep the model's own decoder and head"
        )
    options = _decoder_options(file, model)
    if options:
        return options
    kinds = [(kind, getattr(report, kind)) for kind in ("missing", "mismatched", "unexpected")]
    counts = "; ".join(
        f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for kind, names in kinds
        if names
    )
    return f"{counts}; strict=False loads what fits"


def _decoder_options(file: Description, model: Description) -> str | None:
    """How the options of the same decoder differ, if they do."""
    options = {
        key: value
        for key, value in file.decoder_options.items()
        if file.decoder == model.decoder and value != model.decoder_options.get(key)
    }
    if not options:
        return None
    ours = ", ".join(f"{key}={model.decoder_options.get(key)!r}" for key in options)
    theirs = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return f"its decoder has {theirs}, the model's {ours} (decoder_options=dict({theirs}))"


def _ranks(theirs: int, ours: int) -> str:
    inflation = ", or load with inflate='center' or 'mean'" if theirs < ours else ""
    return f"its weights are {theirs}D, the model is {ours}D (create it with spatial_dims={theirs}{inflation})"


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
        "decoder": lambda: f"its decoder is {theirs}, the model's {ours}; create the model with {theirs!r}",
    }[field]()
