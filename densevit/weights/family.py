"""The record of a published family: all that is known of its weights. `families/` has one file a record.

A key map is made of rows (their names, our names[, operation]). Names are those of modules; `.{p}` (weight, bias,
running_mean, ...) is added where it is not written; a name that ends in `!` is a tensor's whole name. {i} is a stage or
level counted from 0, {i+1} the same counted from 1, {j} a block of a stage, {j+1} and {j+1:02} the same counted from 1
("1" and "01"), {k} a block counted through all stages (our names are then `blocks.{k}`, and stages are made when the
model is known), {k+3} the same counted from 3. A tuple of names stands for several tensors that the operation, one of
`operations.OPERATIONS`, joins or splits.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from re import match
from typing import Any

from torch import nn

from densevit.weights.published import PublishedFile

Names = str | tuple[str, ...]
Row = tuple[Names, Names] | tuple[Names, Names, str]
Shapes = Mapping[str, tuple[int, ...]]  # name -> shape of its tensor
Rule = Callable[[Collection[nn.Module]], Any]  # reads an option that no tensor shows from the modules of a model


@dataclass(frozen=True, kw_only=True)
class Release:
    """Files of one publisher: what is known of them, how they are recognised, how their tensors are translated."""

    title: str
    is_it: Callable[[Shapes], bool]  # by names and shapes
    publisher: str | None = None  # None here and below where our sources do not say
    hub: tuple[str, ...] = ()  # names under which they are published, as examples
    files: tuple[PublishedFile, ...] = ()  # those that can be asked for by name
    licence: str | None = None  # of the publisher's repository
    trained_on: str | None = None
    variants: tuple[str, ...] = ()  # members of the family that were released so; all of them where it is empty
    cleanups: tuple[tuple[str, str], ...] = ()  # (pattern, replacement), applied to every name first
    prefix: str = ""  # of the backbone's names in a checkpoint of a whole model; may be absent
    backbone: tuple[Row, ...] = ()
    decoder: tuple[Row, ...] = ()
    class_head: tuple[Row, ...] = ()  # our names with `class_head.`; a model without such a head leaves them aside
    # Our names with `text.`, and `logit_scale`, of a CLIP; other models leave them aside.
    texts: tuple[Row, ...] = ()
    ignored: tuple[str, ...] = ()  # patterns of tensors for which our models have no place
    # Patterns of our names that it does not hold, such as norms that only a dense model has: the model keeps its own.
    absent: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()  # for the report: what cannot be told from the file
    remarks_if: tuple[tuple[Callable[[Shapes], bool], str], ...] = ()  # of files with such names and shapes
    options: Mapping[str, Any] = field(default_factory=dict)  # of the builder, which its maps need and no tensor shows
    unsure: str = (
        ""  # whose files look the same and need other options, in one sentence: then the user names the source
    )


@dataclass(frozen=True)
class Pair:
    """A whole model as it was published, with those options of the decoder that are not its defaults."""

    backbone: str
    decoder: str
    num_classes: int
    decoder_options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.backbone} + {self.decoder}"


@dataclass(frozen=True)
class DecoderTraits:
    """How a decoder is recognised by its tensors, named without `decoder.`, and its options read from them."""

    is_it: Callable[[Shapes], bool]
    options: Callable[[Shapes], dict[str, Any]] = lambda _: {}


@dataclass(frozen=True, kw_only=True)
class Family:
    """All that densevit holds of a published family beside its network; every part may be empty."""

    name: str
    variants: tuple[str, ...] = ()  # names of registered backbones
    releases: Mapping[str, Release] = field(default_factory=dict)
    # Reads an option of the builder from the shapes of our tensors; None where they do not tell it.
    options: Mapping[str, Callable[[Shapes], Any]] = field(default_factory=dict)
    varying: str | None = None  # pattern of our names whose tensors come, go or change their shape with options
    alternatives: tuple[Mapping[str, Any], ...] = ()  # options that change many tensors, of weights published so
    rules: Mapping[str, Rule] = field(default_factory=dict)  # None where the option makes no difference
    decoders: Mapping[str, DecoderTraits] = field(default_factory=dict)  # those that were published with the family
    pairs: tuple[Pair, ...] = ()
    classifier: Mapping[str, Any] = field(default_factory=dict)  # options with which it was published for classes
    mmseg: Mapping[str, str] = field(default_factory=dict)  # name in its configs -> the beginning of ours
    # Options that suit a model which is trained on crops of a size; the reason is for a proposed config.
    crop_options: Callable[[tuple[int, ...]], dict[str, Any]] = lambda _: {}
    crop_reason: str = ""


def names_like(*patterns: str) -> Callable[[Shapes], bool]:
    """True for tensors of which, for each pattern, some name begins with it."""
    return lambda shapes: all(any(match(pattern, name) for name in shapes) for pattern in patterns)


def within(theirs: str, ours: str, *names: str | Row) -> tuple[Row, ...]:
    """Rows of modules whose names begin so, in their names and in ours; a name alone is the same in both."""

    def at(place: str, found: Names) -> Names:
        return place + found if isinstance(found, str) else tuple(place + name for name in found)

    rows = [(name, name) if isinstance(name, str) else name for name in names]
    return tuple((at(theirs, row[0]), at(ours, row[1]), *row[2:]) for row in rows)


# The neck "feature2pyramid" in segmentation of XCiT's and BEiT's authors; with patches of 8 only the first has weights.
FEATURE2PYRAMID: tuple[Row, ...] = (
    ("fpn1.0", "neck.rescale.0.ups.0"),
    ("fpn1.1", "neck.rescale.0.norms.0"),
    ("fpn1.3", "neck.rescale.0.ups.1"),
    ("fpn2.0", "neck.rescale.1.ups.0"),
)

# Options of a backbone read from the names and shapes of our tensors, for `Family.options`.

STEM = "backbone.stages.0.downsample.proj.weight"  # (dim, in_channels, *patch)
STEM_BLOCK = "backbone.stages.0.downsample.blocks.0.conv1.weight"  # where convolutions come before: (dim, in_channels)
_POSITION = "backbone.stages.0.downsample.position"


def patch_size(shapes: Shapes) -> int | list[int]:
    """Of the first convolution."""
    return _plain(shapes[STEM][2:])


def image_size(shapes: Shapes) -> int | list[int] | None:
    """The image for which the first table of positions is made, where that is a square or a cube of cells."""
    table = shapes.get(f"{_POSITION}.pos_embed")
    return None if table is None else image_of(table[1] - num_tokens(shapes), shapes)


def image_of(cells: int, shapes: Shapes) -> int | list[int] | None:
    """The image of so many patches, where they make a square or a cube of cells."""
    patch = shapes[STEM][2:]
    side = _root(cells, len(patch))
    return None if side is None else _plain([side * cell for cell in patch])


def image_size_on(patch: int) -> Callable[[Shapes], int | list[int] | None]:
    """The same where patches of this size come after other convolutions."""
    return lambda shapes: image_size({**shapes, STEM: (*shapes[STEM][:2], *[patch] * len(shapes[STEM][2:]))})


def num_tokens(shapes: Shapes) -> int:
    """Class and distillation tokens, which have rows in the table of positions."""
    return sum(name in shapes for name in (f"{_POSITION}.tokens.cls_token", f"{_POSITION}.tokens.dist_token"))


def num_registers(shapes: Shapes) -> int:
    """Tokens without a position."""
    return shapes.get(f"{_POSITION}.tokens.reg_token", (1, 0))[1]


def window_size(shapes: Shapes) -> int | None:
    """The window of a square or cubic table of relative biases."""
    tables = (shape for name, shape in shapes.items() if name.endswith(".relative_position_bias_table"))
    side = _root(next(tables, (0,))[0], len(shapes[STEM][2:]))
    return (side + 1) // 2 if side else None


def _root(number: int, axes: int) -> int | None:
    side = round(number ** (1 / axes))
    return side if side**axes == number else None


def _plain(values: Collection[int]) -> int | list[int]:
    """One number where all are the same."""
    return next(iter(values)) if len(set(values)) == 1 else list(values)
