"""What a state dict is: the model's name, its widths, ranks and classes, read from names and shapes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache

import torch
from torch import Tensor

from densevit.backbones import BACKBONES

STEM = "backbone.stages.0.downsample.proj.weight"


@dataclass(frozen=True)
class Description:
    """What can be told of a model from our names for its tensors; None where it cannot."""

    backbones: tuple[str, ...] = ()  # every variant with exactly these tensors; MiT-B5 and PVT v2-B5 are the same
    spatial_dims: int | None = None
    in_channels: int | None = None
    num_classes: int | None = None
    dim: int | None = None  # width of the decoder
    project_norm: bool | None = None

    def differences(self, other: "Description") -> list[str]:
        """Names of the fields in which two models differ, as far as both are known."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        a, b = pairs.pop("backbones")
        differing = ["backbones"] if a and b and not set(a) & set(b) else []
        return differing + [name for name, (x, y) in pairs.items() if None not in (x, y) and x != y]


def describe(state: Mapping[str, Tensor]) -> Description:
    """Describe a state dict that has our names (those of a `Segmentor`)."""
    stem, head, fuse = state.get(STEM), state.get("head.weight"), state.get("decoder.fuse.weight")
    has_rank = stem is not None and stem.ndim in (4, 5)
    return Description(
        backbones=find_backbones(state) if has_rank else (),
        spatial_dims=stem.ndim - 2 if has_rank else None,
        in_channels=stem.shape[1] if has_rank else None,
        num_classes=None if head is None else head.shape[0],
        dim=None if fuse is None else fuse.shape[0],
        project_norm=None if fuse is None else any(name.startswith("decoder.project_norms.") for name in state),
    )


def find_backbones(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Registered backbones whose tensors have exactly these names and shapes, whatever the input channels."""
    prefix, rank = "backbone.", state[STEM].ndim - 2
    shapes = {name.removeprefix(prefix): tuple(t.shape) for name, t in state.items() if name.startswith(prefix)}
    shapes[STEM.removeprefix(prefix)] = _without_channels(state[STEM].shape)
    return tuple(name for name in BACKBONES.names() if _shapes(name, rank) == shapes)


@cache
def _shapes(name: str, spatial_dims: int) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):  # no memory, no initial values
        state = BACKBONES.create(name, spatial_dims=spatial_dims).state_dict()
    stem = STEM.removeprefix("backbone.")
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    return shapes | ({stem: _without_channels(state[stem].shape)} if stem in state else {})


def _without_channels(shape: Sequence[int]) -> tuple[int, ...]:
    return (shape[0], *shape[2:])
