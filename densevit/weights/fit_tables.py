"""Tables of a checkpoint fitted to a model that has them for another window, image or number of axes.

Tables of windows are resized by cubic interpolation of each axis, as published for Swin; tables of a grid by the
interpolation with which their model resizes them itself; tables of one axis linearly (MViT), or by the nearest row
(TimeSformer). A checkpoint does not say how its rows are laid out: they are taken for a square or cube, else for the
model's aspect, else for the model's grid with another first axis.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.position import LearnedPositions, resize_cubic, resize_positions
from densevit.blocks.tokens import GridTokens
from densevit.blocks.window import WindowAttention
from densevit.weights.names import Target
from densevit.weights.rename import Translation


def fit_tables(translation: Translation, target: Target, *, flat: bool) -> Translation:
    """Resize each table to the model's; `flat` ones are of pictures and repeat along the first axis of volumes.

    A remark says when tables of pictures change their size too: then no map of the volume is one of the picture's.
    """
    state, remarks, flattened = dict(translation.state), [], []
    for name, table in translation.state.items():
        own = target.tensors.get(name)
        fit = next((fit for pattern, fit in _TABLES.items() if re.search(pattern, name)), None)
        if own is None or fit is None or (own.shape == table.shape and not flat):
            continue
        fitted, resized = fit(table, own, target.owner(name), flat)
        state[name] = fitted
        if fitted.shape != table.shape:
            remarks.append(f"{name} {tuple(fitted.shape)} from {tuple(table.shape)} by resizing the table")
        if flat and resized:
            flattened.append(name)
    more = (_FLATTENED.format(names=_shorten(flattened)),) if flattened else ()
    remarks = [*translation.reshaped, *remarks]
    return replace(translation, state=state, reshaped=remarks, remarks=(*translation.remarks, *more))


_FLATTENED = (
    "{names} were made for pictures of another size than the model's, so that on a volume that repeats one slice its "
    "maps are near those of the 2D model and not equal; where they should be, make the model with the size of the "
    "pictures along the last two axes (image_size, or window_size)"
)


def _shorten(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more tables"


# Each of these gives the table for the model, and whether its cells are others than those that it had.


def _fit_bias(table: Tensor, own: Tensor, owner: nn.Module | None, flat: bool) -> tuple[Tensor, bool]:
    """(prod(2 w - 1), H) of one window -> the same of another."""
    if not isinstance(owner, WindowAttention) or table.shape[1:] != own.shape[1:]:
        return table, False
    sizes = [2 * w - 1 for w in owner.window]
    depth, *sizes = sizes if flat else [None, *sizes]
    grid = find_grid(len(table), sizes)
    if grid is None:
        return table, False
    resized = resize_cubic(table.unflatten(0, grid), sizes).flatten(0, -2)
    return (resized if depth is None else resized.repeat(depth, 1)), list(grid) != sizes


def _fit_positions(table: Tensor, own: Tensor, owner: nn.Module | None, flat: bool) -> tuple[Tensor, bool]:
    """(1, T + N, C) of one grid -> of another; rows of tokens that the model lacks are left out."""
    if not isinstance(owner, LearnedPositions) or table.ndim != 3 or table.shape[2] != own.shape[2]:
        return table, False
    flat = flat and len(owner.grid) - 1 in nd.CONV  # not where the table is one of pictures in the model too
    like = owner.grid[1:] if flat else owner.grid
    tokens = _count_tokens(table.shape[1], like, default=owner.num_tokens)
    grid = find_grid(table.shape[1] - tokens, like)
    if grid is None or tokens < owner.num_tokens:
        return table, False
    is_other = grid != tuple(like)
    first, cells = table[:, : owner.num_tokens], table[:, tokens:]
    if flat:
        cells, grid = cells.repeat(1, owner.grid[0], 1), (owner.grid[0], *grid)
    cells = resize_positions(cells, grid=grid, size=owner.grid, mode=owner.mode, resizing=owner.resizing)
    return torch.cat([first, cells], dim=1), is_other


def find_grid(rows: int, like: Sequence[int]) -> tuple[int, ...] | None:
    """How a table of so many rows is laid out, for a model whose own is laid out `like` this; None where unclear."""
    n, total = len(like), prod(like)
    if rows == total:
        return tuple(like)
    side, scale = round(rows ** (1 / n)), (rows / total) ** (1 / n)
    guesses = [(side,) * n, tuple(round(s * scale) for s in like)]
    guesses += [(*like[:k], rows // (total // like[k]), *like[k + 1 :]) for k in range(n)]
    return next((guess for guess in guesses if prod(guess) == rows), None)


def _count_tokens(rows: int, like: Sequence[int], *, default: int) -> int:
    """Rows of class and distillation tokens before those of the grid: what is left is the model's own grid, or a square
    or cube."""
    candidates = (default, 0, 1, 2)
    sides = {tokens: round((rows - tokens) ** (1 / len(like))) for tokens in candidates}
    own = [tokens for tokens in candidates if rows - tokens == prod(like)]
    cubes = [tokens for tokens, side in sides.items() if side ** len(like) == rows - tokens]
    return [*own, *cubes, default][0]


def _fit_lines(
    table: Tensor, own: Tensor, _owner: nn.Module | None, _flat: bool, *, mode: str = "linear"
) -> tuple[Tensor, bool]:
    """(2 n - 1, K) -> (2 m - 1, K), or (1, n, C) -> (1, m, C)."""
    if table.shape[:-2] != own.shape[:-2] or table.shape[-1:] != own.shape[-1:] or table.shape == own.shape:
        return table, False
    lines = table.flatten(0, -2).mT[None]
    return F.interpolate(lines, size=own.shape[-2], mode=mode)[0].mT.reshape(own.shape), True


def _fit_plane(table: Tensor, own: Tensor, owner: nn.Module | None, _flat: bool) -> tuple[Tensor, bool]:
    """(1, h * w, C) -> (1, H * W, C), bilinearly."""
    if not isinstance(owner, GridTokens) or table.shape[2:] != own.shape[2:] or table.shape == own.shape:
        return table, False
    size = owner.grid[-2:]
    grid = find_grid(table.shape[1], size)
    return (table, False) if grid is None else (resize_positions(table, grid=grid, size=size, mode="bilinear"), True)


_TABLES: dict[str, Callable[[Tensor, Tensor, nn.Module | None, bool], tuple[Tensor, bool]]] = {
    r"\.relative_position_bias_table$": _fit_bias,
    r"\.pos_embed$": _fit_positions,
    r"\.pos_embed_spatial$": _fit_plane,
    r"\.pos_embed_temporal$": _fit_lines,
    r"\.time_embed$": partial(_fit_lines, mode="nearest"),
    r"\.rel_pos\.\d+$": _fit_lines,
}
