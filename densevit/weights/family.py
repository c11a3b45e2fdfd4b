"""The record of a published family: all that is known of its weights. `families/` has one file a record.

A key map is made of rows (their names, our names[, operation]). Names are those of modules; `.{p}` (weight, bias,
running_mean, ...) is added where it is not written; a name that ends in `!` is a tensor's whole name. {i} is a stage or
level counted from 0, {i+1} the same counted from 1, {j} a block of a stage, {k} a block counted through all stages (our
names are then `blocks.{k}`, and stages are made when the model is known). A tuple of names stands for several tensors
that the operation, one of `operations.OPERATIONS`, joins or splits.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from re import match
from typing import Any

from torch import nn

Names = str | tuple[str, ...]
Row = tuple[Names, Names] | tuple[Names, Names, str]
Shapes = Mapping[str, tuple[int, ...]]  # name -> shape of its tensor
Rule = Callable[[Collection[nn.Module]], Any]  # reads an option from the modules of a model


@dataclass(frozen=True, kw_only=True)
class Release:
    """Files of one publisher: what is known of them, how they are recognised, how their tensors are translated.

    `hub` are names under which they are published, as examples; `licence` is that of the publisher's repository,
    `trained_on` names the data sets; None where our sources do not say. `variants` are the members of the family that
    were released so, all of them where it is empty.

    `is_it` looks at names and shapes. `prefix` stands before the backbone's names in a checkpoint of a whole model, and
    may be absent. `ignored` are patterns of tensors for which our models have no place; `cleanups` are (pattern,
    replacement) applied to every name first; `absent` are patterns of our names that the release does not hold, such as
    the norms of maps that only a dense model has: the model keeps its own, and the report calls them fresh. `remarks`
    are sentences for the report: what cannot be told from the file; `remarks_if` those of files whose names and shapes
    are so. `options` are those of the builder that no tensor shows and with which a model gives the release's maps;
    `unsure` is a sentence on whose files look the same and need other options: then the user names the source.
    """

    title: str
    is_it: Callable[[Shapes], bool]
    publisher: str | None = None
    hub: tuple[str, ...] = ()
    licence: str | None = None
    trained_on: str | None = None
    variants: tuple[str, ...] = ()
    prefix: str = ""
    backbone: tuple[Row, ...] = ()
    decoder: tuple[Row, ...] = ()
    ignored: tuple[str, ...] = ()
    cleanups: tuple[tuple[str, str], ...] = ()
    absent: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    remarks_if: tuple[tuple[Callable[[Shapes], bool], str], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    unsure: str = ""


@dataclass(frozen=True)
class Pair:
    """A whole model as it was published: a backbone and a decoder, with the decoder's options where they are not its
    defaults."""

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
    """All that densevit holds of a published family beside its network; every part may be empty.

    `variants` are names of registered backbones. `options` read an option of the builder from the shapes of our
    tensors, or None where they do not tell it; `varying` is a pattern of our names whose tensors come, go or change
    their shape with options. `alternatives` are options that change many tensors, with which some weights were
    published. `rules` read options that no tensor shows from the modules of a model, None where it
    makes no difference. `decoders` are those that were published with the family, `pairs` the whole models.
    `mmseg` maps a name in mmsegmentation's configs to the beginning of ours. `crop_options` are the options that suit
    a model which is trained on crops of a size, and `crop_reason` says why, in a proposed config.
    """

    name: str
    variants: tuple[str, ...] = ()
    releases: Mapping[str, Release] = field(default_factory=dict)
    options: Mapping[str, Callable[[Shapes], Any]] = field(default_factory=dict)
    varying: str | None = None
    alternatives: tuple[Mapping[str, Any], ...] = ()
    rules: Mapping[str, Rule] = field(default_factory=dict)
    decoders: Mapping[str, DecoderTraits] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()
    mmseg: Mapping[str, str] = field(default_factory=dict)
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
