"""What a state dict is: the model's names, widths, ranks and classes, read from names and shapes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from densevit.backbones import BACKBONES
from densevit.weights.describe_options import find_backbone_options, find_decoder
from densevit.weights.stages import count_through
from densevit.weights.target import STEM

Signature = dict[str, tuple[int, ...]]  # name -> shape
# What differs between models of one variant: tables of other sizes, extra tokens, norms of levels.
_VARYING = re.compile(
    r"relative_position_bias_table$|\.rel_pos\.|\.pos_embed|(cls|dist)_token$|backbone\.(out_)?norms?\."
)


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
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        a, b = pairs.pop("backbones")
        differing = ["backbones"] if a and b and not set(a) & set(b) else []
        return differing + [
            name
            for name, (x, y) in pairs.items()
            if None not in (x, y) and x != y and name not in ("backbone_options", "decoder_options")
        ]


def describe(state: Mapping[str, Tensor]) -> Description:
    """Describe a state dict that has our names (those of a `Segmentor`); blocks may be counted through."""
    stem, head = state.get(STEM), state.get("head.weight")
    has_rank = stem is not None and stem.ndim in (4, 5)
    backbones = find_backbones(state) if has_rank else ()
    decoder, decoder_options = find_decoder(state)
    is_default = not backbones or _shapes(backbones[0], stem.ndim - 2) == _signature(state)
    return Description(
        backbones=backbones,
        spatial_dims=stem.ndim - 2 if has_rank else None,
        in_channels=stem.shape[1] if has_rank else None,
        num_classes=None if head is None else head.shape[0],
        decoder=decoder,
        backbone_options={} if is_default else find_backbone_options(state, BACKBONES.keywords(backbones[0])),
        decoder_options=decoder_options,
    )


def find_backbones(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Registered backbones whose tensors have exactly these names and shapes, whatever the input channels.

    Where none has, those that differ in no more than options can: tables, tokens, norms of levels, patches, taps.
    """
    rank, names = state[STEM].ndim - 2, BACKBONES.names()
    exact, loose = _signature(state), _loose_signature(state)
    found = tuple(name for name in names if _shapes(name, rank) == exact)
    return found or tuple(name for name in names if _loose_shapes(name, rank) == loose)


def _signature(state: Mapping[str, Tensor]) -> Signature:
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items() if name.startswith("backbone.")}
    return shapes | {name: (shapes[name][0], *shapes[name][2:]) for name in [STEM] if name in shapes}


def _loose_signature(state: Mapping[str, Tensor]) -> Signature:
    shapes = _signature(count_through(state))
    kept = {name: shape for name, shape in shapes.items() if not _VARYING.search(name)}
    return kept | {name: shape[:1] for name, shape in kept.items() if name == STEM}


_INITIALISERS = {function for name, function in vars(nn.init).items() if name.endswith("_") and callable(function)}


class _NoInitialValues(TorchFunctionMode):
    """Leaves out torch.nn.init, which takes most of the time of a model without memory."""

    def __torch_function__(self, func: Any, _types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in _INITIALISERS:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


@cache
def _shapes(name: str, spatial_dims: int) -> Signature:
    return _signature(_meta_state(name, spatial_dims))


@cache
def _loose_shapes(name: str, spatial_dims: int) -> Signature:
    return _loose_signature(_meta_state(name, spatial_dims))


@cache
def _meta_state(name: str, spatial_dims: int) -> dict[str, Tensor]:
    with torch.device("meta"), _NoInitialValues():
        state = BACKBONES.create(name, spatial_dims=spatial_dims).state_dict()
    return {f"backbone.{name}": tensor for name, tensor in state.items()}
