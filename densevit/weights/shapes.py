"""Options of a backbone read from the names and shapes of our tensors, for the `options` of a family's record."""

from collections.abc import Collection, Sequence
from math import prod

from densevit.weights.family import Shapes

STEM = "backbone.stages.0.downsample.proj.weight"  # (dim, in_channels, *patch)
_POSITION = "backbone.stages.0.downsample.position"


def patch_size(shapes: Shapes) -> int | list[int]:
    """Of the first convolution."""
    return _plain(shapes[STEM][2:])


def image_size(shapes: Shapes) -> int | list[int] | None:
    """The image for which the first table of positions is made, where that is a square or a cube of cells."""
    table, patch = shapes.get(f"{_POSITION}.pos_embed"), shapes[STEM][2:]
    if table is None:
        return None
    grid = find_grid(table[1] - num_tokens(shapes), (1,) * len(patch))
    if grid is None or len(set(grid)) > 1:
        return None
    return _plain([cells * side for cells, side in zip(grid, patch, strict=True)])


def num_tokens(shapes: Shapes) -> int:
    """Class and distillation tokens, which have rows in the table of positions."""
    return sum(name in shapes for name in (f"{_POSITION}.tokens.cls_token", f"{_POSITION}.tokens.dist_token"))


def num_registers(shapes: Shapes) -> int:
    """Tokens without a position."""
    return shapes.get(f"{_POSITION}.tokens.reg_token", (1, 0))[1]


def window_size(shapes: Shapes) -> int | None:
    """The window of a square or cubic table of relative biases."""
    rows = next((shape[0] for name, shape in shapes.items() if name.endswith(".relative_position_bias_table")), 0)
    rank = len(shapes[STEM][2:])
    side = round(rows ** (1 / rank))
    return (side + 1) // 2 if side and side**rank == rows else None


def class_token(shapes: Shapes) -> bool:
    """Whether there is one."""
    return any(name.endswith("cls_token") for name in shapes)


def find_grid(rows: int, like: Sequence[int]) -> tuple[int, ...] | None:
    """How a table of so many rows is laid out, for a model whose own is laid out `like` this; None where unclear."""
    n, total = len(like), prod(like)
    if rows == total:
        return tuple(like)
    side, scale = round(rows ** (1 / n)), (rows / total) ** (1 / n)
    guesses = [(side,) * n, tuple(round(s * scale) for s in like)]
    guesses += [(*like[:k], rows // (total // like[k]), *like[k + 1 :]) for k in range(n)]
    return next((guess for guess in guesses if prod(guess) == rows), None)


def _plain(values: Collection[int]) -> int | list[int]:
    """One number where all are the same."""
    return next(iter(values)) if len(set(values)) == 1 else list(values)
