"""A training loss from a config: weighted terms, each named for its function."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from densevit.decoders import Output
from densevit.losses.functions import cross_entropy, dice_loss, focal_loss, lovasz_softmax, ohem_cross_entropy
from densevit.options import check_bools, fit
from densevit.registry import check_known

LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "dice": dice_loss,
    "focal": focal_loss,
    "lovasz_softmax": lovasz_softmax,
    "ohem_cross_entropy": ohem_cross_entropy,
}


class Term(nn.Module):
    """One weighted loss: logits (B, K, *S), label (B, *S) -> scalar. Class weights follow the module's device."""

    def __init__(self, function: Callable[..., Tensor], *, weight: float, class_weights: Sequence[float] | None):
        super().__init__()
        self.function = function
        self.weight = weight
        weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        if self.class_weights is None:
            return self.weight * self.function(logits, label)
        return self.weight * self.function(logits, label, class_weights=self.class_weights)


class SegmentationLoss(nn.Module):
    """A model's output and label (B, *S) -> `{"loss_cross_entropy": scalar, ...}`, weighted: train on their sum.

    The output is what `Segmentor.forward_output` gives, or `DenseMap(logits)`. Its logits are resized to the label.
    """

    def __init__(self, terms: Mapping[str, Term]):
        super().__init__()
        self.terms = nn.ModuleDict(terms)

    def forward(self, output: Output, label: Tensor) -> dict[str, Tensor]:
        logits = output.logits(label.shape[1:])
        return {f"loss_{name}": term(logits, label) for name, term in self.terms.items()}


LossConfig = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def create_loss(config: LossConfig, *, ignore_index: int = 255) -> SegmentationLoss:
    """Build the loss that `dict(type="cross_entropy", weight=1.0, label_smoothing=0.1)`, or a list of such, asks for.

    Keys are `type`, one of `LOSSES`; `weight`; and the keywords of that function. `ignore_index` is the default of
    those that do not name it. Anything unknown raises ValueError with the nearest known name.
    """
    terms = {}
    for entry in check_loss(config):
        options = {"weight": 1.0, "class_weights": None, "ignore_index": ignore_index, **entry}
        name, weight, class_weights = (options.pop(key) for key in ("type", "weight", "class_weights"))
        terms[name] = Term(partial(LOSSES[name], **options), weight=weight, class_weights=class_weights)
    return SegmentationLoss(terms)


def check_loss(config: LossConfig, *, num_classes: int | None = None) -> list[Mapping[str, Any]]:
    """The terms as a list, once their names and keywords are found to be known; ValueError otherwise.

    With `num_classes`, class weights must be as many.
    """
    terms = [config] if isinstance(config, Mapping) else list(config)
    if not terms:
        raise ValueError("the loss has no terms; give at least dict(type='cross_entropy')")
    names = [term.get("type") for term in terms]
    for name, term in zip(names, terms, strict=True):
        check_known(name, LOSSES, what="no loss of type")
        if names.count(name) > 1:
            raise ValueError(f"the loss has two terms of type {name!r}; give one, with the sum of their weights")
        known = [p.name for p in signature(LOSSES[name]).parameters.values() if p.kind is p.KEYWORD_ONLY]
        for key in term:
            check_known(key, ["type", "weight", *known], what=f"loss {name!r} has no option")
        takes = {**signature(Term).parameters, **signature(LOSSES[name]).parameters}
        check_bools(takes, term, where=f"loss {name!r}: ")
        weights = term.get("class_weights")
        weights = None if weights is None else fit(weights, tuple[float, ...], where=f"loss {name!r}: class_weights")
        if num_classes is not None and weights is not None and len(weights) != num_classes:
            raise ValueError(
                f"loss {name!r} has {len(weights)} class_weights and the model {num_classes} classes; "
                "give one for each class"
            )
    return terms
