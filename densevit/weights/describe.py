"""What a state dict is: the model's names, widths, ranks and classes, read from names and shapes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from densevit.backbones import BACKBONES
from densevit.blocks import nd
from densevit.weights.building import Building, OtherModelError
from densevit.weights.families import family_of, known_families
from densevit.weights.family import STEM, STEM_BLOCK, Shapes
from densevit.weights.names import NECK, count_through, is_classifier, is_neck

_COMPARED = ("spatial_dims", "in_channels", "num_classes", "decoder", "class_head")
# Kinds of class heads by a tensor that no other kind has.
_CLASS_HEADS = {"class_head.probe": "map", "class_head.fc_dist.weight": "distilled", "class_head.fc.weight": "pooled"}


@dataclass(frozen=True)
class Description:
    """What can be told of a model from our names for its tensors; None or empty where it cannot."""

    backbones: tuple[str, ...] = ()  # every variant with these tensors; MiT-B5 and PVT v2-B5 are the same
    relatives: tuple[str, ...] = ()  # those and every variant that has these tensors with other options
    spatial_dims: int | None = None
    in_channels: int | None = None
    num_classes: int | None = None
    decoder: str | None = None
    class_head: str | None = None  # the kind of a classifier's
    backbone_options: dict[str, Any] = field(default_factory=dict)  # where they are not the variant's defaults
    told: dict[str, Any] = field(default_factory=dict)  # all options of the backbone that its tensors tell
    decoder_options: dict[str, Any] = field(default_factory=dict)

    def differences(self, other: "Description") -> list[str]:
        """Names of the fields in which two models differ, as far as both are known; options do not count."""
        ours, theirs = self.relatives, other.relatives
        differing = ["backbones"] if ours and theirs and not set(ours) & set(theirs) else []
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in _COMPARED}
        return differing + [name for name, pair in pairs.items() if None not in pair and pair[0] != pair[1]]


def describe(state: Mapping[str, Tensor]) -> Description:
    """Describe a state dict that has our names (those of a `Segmentor`); blocks may be counted through."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    stem = shapes.get(STEM, ())
    head = shapes.get("class_head.fc.weight" if is_classifier(shapes) else "head.weight")
    has_rank = len(stem) - 2 in nd.CONV
    backbones, relatives = find_backbones(shapes) if has_rank else ((), ())
    decoder, decoder_options = _find_decoder(shapes)
    neck = _find_neck(shapes)
    told = (_find_options(shapes, backbones[0]) if backbones else {}) | neck
    return Description(
        backbones=backbones,
        relatives=relatives,
        spatial_dims=len(stem) - 2 if has_rank else None,
        in_channels=shapes.get(STEM_BLOCK, stem)[1] if has_rank else None,
        num_classes=None if head is None else head[0],
        decoder=decoder,
        class_head=next((kind for name, kind in _CLASS_HEADS.items() if name in shapes), None),
        backbone_options=told if backbones and not _is_exact(shapes, backbones[0]) else neck,
        told=told,
        decoder_options=decoder_options,
    )


def find_backbones(shapes: Shapes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Registered backbones whose tensors have exactly these names and shapes, whatever the input channels.

    Where none has, those of which the fewest options differ. With them, all that differ in no more than the options of
    their family can (`Family.varying`).
    """
    names = BACKBONES.names()
    exact = tuple(name for name in names if _is_exact(shapes, name))
    others = [name for name in names if name not in exact and _alternative(shapes, name) is not None]
    differing = {name: len(_differing_options(shapes, name)) for name in others}
    nearest = tuple(name for name in others if differing[name] == min(differing.values()))
    return exact or nearest, (*exact, *others)


def _is_exact(shapes: Shapes, name: str) -> bool:
    """Whether the backbone of this name has these tensors without any options."""
    own = _shapes(name, shapes)
    return own is not None and _signature(own) == _signature(shapes)


def _alternative(shapes: Shapes, name: str) -> dict[str, Any] | None:
    """With which of its family's alternatives a backbone has these tensors, up to other options; None with none."""
    family = family_of(name)
    if family.varying is None:
        return None
    given = _loose(shapes, family.varying)
    choices = [{}, *(c for c in family.alternatives if set(c) <= set(BACKBONES.parameters(name)))]
    for choice in choices:
        own = _shapes(name, shapes, **choice)
        if own is not None and _loose(own, family.varying) == given:
            return dict(choice)
    return None


def _signature(shapes: Shapes) -> Shapes:
    """Those of the backbone, the first kernel without its input channels."""
    own = _without_neck(shapes)
    return own | {name: (own[name][0], *own[name][2:]) for name in [STEM] if name in own}


def _without_neck(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Those of the backbone that are its family's."""
    return {name: shape for name, shape in shapes.items() if name.startswith("backbone.") and not is_neck(name)}


def _find_neck(shapes: Shapes) -> dict[str, Any]:
    """The option of a backbone that makes a neck of these tensors; none where there are none."""
    if not any(map(is_neck, shapes)):
        return {}
    kernel = shapes.get(f"{NECK}project.0.0.weight")
    return dict(neck="feature2pyramid" if kernel is None else dict(type="simple_fpn", dim=kernel[0]))


def _loose(shapes: Shapes, varying: str) -> Shapes:
    """Those of the backbone that no option changes; patches are of any size, and stages end at any block."""
    own = _without_neck(count_through(shapes))
    kept = {name: shape for name, shape in own.items() if not re.search(varying, name)}
    return kept | {STEM: shapes[STEM][:1]}


def _find_options(shapes: Shapes, backbone: str) -> dict[str, Any]:
    """Options of the backbone that its tensors tell."""
    found = {option: read(shapes) for option, read in family_of(backbone).options.items()}
    return {option: value for option, value in found.items() if value is not None} | (
        _alternative(shapes, backbone) or {}
    )


def _differing_options(shapes: Shapes, backbone: str) -> list[str]:
    """Those that are not the variant's defaults."""
    known = BACKBONES.parameters(backbone)
    return [key for key, value in _find_options(shapes, backbone).items() if value != known[key].default]


def _find_decoder(shapes: Shapes) -> tuple[str | None, dict[str, Any]]:
    """Name and options of the decoder that has these tensors; None and no options for an unknown decoder."""
    own = {name.removeprefix("decoder."): shape for name, shape in shapes.items() if name.startswith("decoder.")}
    known = [item for family in known_families().values() for item in family.decoders.items()]
    return next(((name, traits.options(own)) for name, traits in known if traits.is_it(own)), (None, {}))


_BUILT: dict[tuple, Shapes] = {}  # of whole backbones, by name, rank and options


def _shapes(name: str, like: Shapes, **options: Any) -> Shapes | None:
    """Names and shapes of a backbone's tensors, in the rank of `like`; None where a linear layer is not of its shapes.

    Options change no linear layer, but those that are given here.
    """
    key = (name, len(like[STEM]) - 2, *sorted(options.items()))
    if key not in _BUILT:
        built = _build(*key, wanted=tuple(shape for shape in like.values() if len(shape) == 2))
        if built is None:
            return None
        _BUILT[key] = built
    return _BUILT[key]


@lru_cache(maxsize=512)  # one file asks for each name several times
def _build(name: str, rank: int, *options: tuple[str, Any], wanted: tuple[tuple[int, ...], ...]) -> Shapes | None:
    try:
        with torch.device("meta"), Building(wanted):
            state = BACKBONES.create(name, spatial_dims=rank, **dict(options)).state_dict()
    except OtherModelError:
        return None
    return {f"backbone.{name}": tuple(tensor.shape) for name, tensor in state.items()}
