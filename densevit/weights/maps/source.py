"""What a key map is: rows of names, and how to recognise a release.

A row is (their names, our names[, operation]). Names are of modules; `.{p}` (weight, bias, running_mean, ...) is added
where it is not written; a name that ends in `!` is a tensor's whole name. {i} is a stage or level counted from 0,
{i+1} the same counted from 1, {j} a block of a stage, {k} a block counted through all stages (our names are then
`blocks.{k}`, and stages are made when the model is known). A tuple of names stands for several tensors that the
operation joins or splits; see `rename.OPERATIONS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from re import match

Names = str | tuple[str, ...]
Row = tuple[Names, Names] | tuple[Names, Names, str]
Shapes = Mapping[str, tuple[int, ...]]  # name -> shape of its tensor


@dataclass(frozen=True)
class Source:
    """One release: how its names are recognised and translated.

    `prefix` stands before the backbone's names in a checkpoint of a whole model, and may be absent.
    `is_it` looks at names and shapes; `ignored` are patterns of tensors that our models have no place for;
    `cleanups` are (pattern, replacement) applied to every name first; `absent` are patterns of our names that the
    release does not hold, such as the norms of maps that only a dense model has: the model keeps its own, and the
    report calls them fresh. `remarks` are sentences for the report: what cannot be told from the file.
    """

    title: str
    family: str
    is_it: Callable[[Shapes], bool]
    prefix: str = ""
    backbone: tuple[Row, ...] = ()
    decoder: tuple[Row, ...] = ()
    ignored: tuple[str, ...] = ()
    cleanups: tuple[tuple[str, str], ...] = ()
    absent: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def names_like(pattern: str) -> Callable[[Shapes], bool]:
    """True for a state dict in which a name begins with the pattern."""
    return lambda shapes: any(match(pattern, name) for name in shapes)
