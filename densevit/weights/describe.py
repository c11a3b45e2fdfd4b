"""What a state dict is: the model's names, widths, ranks and classes, read from names and shapes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from densevit.backbones import BACKBONES
from densevit.blocks import nd
from densevit.weights.families import family_of, known_families
from densevit.weights.family import STEM, STEM_BLOCK, Shapes
from densevit.weights.names import count_through

_COMPARED = ("spatial_dims", "in_channels", "num_classes", "decoder")


@dataclass(frozen=True)
class Description:
    """What can be told of a model from our names for its tensors; None or empty where it cannot."""

    backbones: tuple[str, ...] = ()  # every variant with these tensors; MiT-B5 and PVT v2-B5 are the same
    spatial_dims: int | None = None
    in_channels: int | None = None
    num_classes: int | None = None
    decoder: str | None = None
    backbone_options: dict[str, Any] = field(default_factory=dict)  # where they are not the variant's defaults
    decoder_options: dict[str, Any] = field(default_factory=dict)

    def differences(self, other: "Description") -> list[str]:
        """Names of the fields in which two models differ, as far as both are known; options do not count."""
        ours, theirs = self.backbones, other.backbones
        differing = ["backbones"] if ours and theirs and not set(ours) & set(theirs) else []
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in _COMPARED}
        return differing + [name for name, pair in pairs.items() if None not in pair and pair[0] != pair[1]]


def describe(state: Mapping[str, Tensor]) -> Description:
    """Describe a state dict that has our names (those of a `Segmentor`); blocks may be counted through."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    stem, head = shapes.get(STEM, ()), shapes.get("head.weight")
    has_rank = len(stem) - 2 in nd.CONV
    backbones = find_backbones(shapes) if has_rank else ()
    decoder, decoder_options = _find_decoder(shapes)
    return Description(
        backbones=backbones,
        spatial_dims=len(stem) - 2 if has_rank else None,
        in_channels=shapes.get(STEM_BLOCK, stem)[1] if has_rank else None,
        num_classes=None if head is None else head[0],
        decoder=decoder,
        backbone_options=_find_options(shapes, backbones[0]) if backbones else {},
        decoder_options=decoder_options,
    )


def find_backbones(shapes: Shapes) -> tuple[str, ...]:
    """Registered backbones whose tensors have exactly these names and shapes, whatever the input channels.

    Where none has, those that differ in no more than the options of their family can (`Family.varying`).
    """
    rank, names = len(shapes[STEM]) - 2, BACKBONES.names()
    exact = _signature(shapes)
    found = tuple(name for name in names if _signature(_shapes(name, rank)) == exact)
    return found or tuple(name for name in names if _alternative(shapes, name, rank) is not None)


def _alternative(shapes: Shapes, name: str, rank: int) -> dict[str, Any] | None:
    """With which of its family's alternatives a backbone has these tensors, up to other options; None with none."""
    family = family_of(name)
    if family.varying is None:
        return None
    given = _loose(shapes, family.varying)
    choices = [{}, *(c for c in family.alternatives if set(c) <= set(BACKBONES.parameters(name)))]
    return next((dict(c) for c in choices if given == _loose(_shapes(name, rank, **c), family.varying)), None)


def _signature(shapes: Shapes) -> Shapes:
    """Those of the backbone, the first kernel without its input channels."""
    own = {name: shape for name, shape in shapes.items() if name.startswith("backbone.")}
    return own | {name: (own[name][0], *own[name][2:]) for name in [STEM] if name in own}


def _loose(shapes: Shapes, varying: str) -> Shapes:
    """Those of the backbone that no option changes; patches are of any size, and stages end at any block."""
    own = {name: shape for name, shape in count_through(shapes).items() if name.startswith("backbone.")}
    kept = {name: shape for name, shape in own.items() if not re.search(varying, name)}
    return kept | {STEM: shapes[STEM][:1]}


def _find_options(shapes: Shapes, backbone: str) -> dict[str, Any]:
    """Options of the backbone that are told; none where its tensors are those of the variant's defaults."""
    if _signature(shapes) == _signature(_shapes(backbone, len(shapes[STEM]) - 2)):
        return {}
    found = {option: read(shapes) for option, read in family_of(backbone).options.items()}
    alternative = _alternative(shapes, backbone, len(shapes[STEM]) - 2) or {}
    return {option: value for option, value in found.items() if value is not None} | alternative


def _find_decoder(shapes: Shapes) -> tuple[str | None, dict[str, Any]]:
    """Name and options of the decoder that has these tensors; None and no options for an unknown decoder."""
    own = {name.removeprefix("decoder."): shape for name, shape in shapes.items() if name.startswith("decoder.")}
    known = [item for family in known_families().values() for item in family.decoders.items()]
    return next(((name, traits.options(own)) for name, traits in known if traits.is_it(own)), (None, {}))


_INITIALISERS = {function for name, function in vars(nn.init).items() if name.endswith("_") and callable(function)}


class _NoInitialValues(TorchFunctionMode):
    """Leaves out torch.nn.init, which takes most of the time of a model without memory."""

    def __torch_function__(self, func: Any, _types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in _INITIALISERS:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


@cache
def _shapes(name: str, spatial_dims: int, **options: Any) -> Shapes:
    with torch.device("meta"), _NoInitialValues():
        state = BACKBONES.create(name, spatial_dims=spatial_dims, **options).state_dict()
    return {f"backbone.{name}": tuple(tensor.shape) for name, tensor in state.items()}
