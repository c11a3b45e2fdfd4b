"""Fit a checkpoint to a model that differs on purpose: other input channels, a third dimension, larger tables.

Inflation gives weights of pictures the axis D of volumes, which comes first. On a volume that repeats one slice an
inflated network gives the features of the 2D network; docs/weights.md says where that is exact.

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

from densevit.backbones.mlp_mixer import CellMixing
from densevit.blocks import nd
from densevit.blocks.position import FourierPositions, LearnedPositions, resize_cubic, resize_positions
from densevit.blocks.tokens import GridTokens
from densevit.blocks.visual_tokens import PositionCode
from densevit.blocks.window import PatchMerging, WindowAttention
from densevit.weights.family import STEM
from densevit.weights.names import Target
from densevit.weights.rename import Translation

CHANNELS = (None, "sum", "tile")
INFLATIONS = (None, "center", "mean")
# MViT has tables of relative positions for each axis, or of absolute ones for the first axis of volumes alone; rotary
# positions of pictures know no angle along it.
_TABLE_OF_AXIS = re.compile(r"(\.rel_pos\.)(\d+)$")
_OF_NEW_AXIS = re.compile(r"\.rel_pos\.0$|\.pos_embed_temporal$|\.rope\.rates$|\.time_embed$|\.temporal_attn\.fc\.")
# TimeSformer's attention over time begins with the weights of that within frames, and adds nothing until it is trained.
_LIKE_SPACE = re.compile(r"\.temporal_(?=(attn|norm1)\.)")


def adapt(translation: Translation, target: Target, *, channels: str | None, inflate: str | None) -> Translation:
    """Change the tensors that can be made to fit, with a remark on each; the others are left unchanged."""
    stems = translation.state.get(STEM), target.tensors.get(STEM)
    theirs, ours = (None if stem is None else stem.ndim for stem in stems)
    flat = inflate is not None and None not in (theirs, ours) and theirs < ours
    if flat:
        translation = _inflate(translation, target, how=inflate)
    if flat or theirs == ours:
        translation = fit_tables(translation, target, flat=flat)
    return translation if channels is None else _adapt_stem(translation, target, how=channels)


def _inflate(translation: Translation, target: Target, *, how: str) -> Translation:
    state, remarks = {}, []
    for name, tensor in translation.state.items():
        name = _TABLE_OF_AXIS.sub(lambda m: f"{m[1]}{int(m[2]) + 1}", name)
        state[name] = inflated = _inflate_tensor(name, tensor, target, how=how)
        if inflated.shape != tensor.shape:
            remarks.append(f"{name} {tuple(inflated.shape)} from {tuple(tensor.shape)} by {how}")
    for name, own in target.tensors.items():
        like = _LIKE_SPACE.sub(".", name)
        if name not in state and _OF_NEW_AXIS.search(name):
            state[name] = torch.zeros(own.shape, device="cpu")
            remarks.append(f"{name} {tuple(own.shape)} of zeros")
        elif name not in state and like in state:
            state[name] = state[like]
            remarks.append(f"{name} {tuple(own.shape)} from {like}")
    return replace(translation, state=state, inflated=[*translation.inflated, *remarks])


def _inflate_tensor(name: str, tensor: Tensor, target: Target, *, how: str) -> Tensor:
    owner, parent = target.owner(name), target.owner(name, levels=2)
    if isinstance(owner, (*nd.CONVOLUTIONS, *nd.UPSAMPLINGS)) and tensor.ndim + 1 == owner.weight.ndim:
        return _inflate_kernel(tensor, owner, how=how)
    if isinstance(parent, PatchMerging):
        return _inflate_merging(tensor, parent, how=how)
    if isinstance(parent, FourierPositions) and tensor.ndim > 1:  # the new axis comes first
        return F.pad(tensor, (parent.waves, 0))
    if isinstance(parent, CellMixing) and not name.endswith("fc1.bias"):  # what has a number for each cell
        return _inflate_mixing(tensor, parent.grid[0], reads=name.endswith("fc1.weight"))
    if isinstance(parent, PositionCode) and name.endswith("project.weight"):  # a linear map of flattened cells
        cells = owner.in_features // tensor.shape[1]
        return tensor.repeat(1, cells) / cells
    return tensor


def _inflate_kernel(kernel: Tensor, owner: nn.Module, *, how: str) -> Tensor:
    """(O, I, *S) -> (O, I, depth, *S) whose sum over depth is the kernel.

    One of a transposed convolution gives every output slice the kernel once, whatever the inflation.
    """
    depth = owner.kernel_size[0]
    if isinstance(owner, nd.UPSAMPLINGS):
        return kernel.unsqueeze(2).repeat_interleave(depth, 2) * (owner.stride[0] / depth)
    inflated = kernel.new_zeros(*kernel.shape[:2], depth, *kernel.shape[2:])
    if how == "mean":
        inflated += kernel.unsqueeze(2) / depth
    else:
        inflated[:, :, depth // 2] = kernel
    return inflated


def _inflate_mixing(tensor: Tensor, slices: int, *, reads: bool) -> Tensor:
    """Weights (hidden, N) that read cells -> (hidden, slices * N), each slice a share; those that write, the same N
    for each slice: (N, ...) -> (slices * N, ...)."""
    return tensor.repeat(1, slices) / slices if reads else tensor.repeat(slices, *[1] * (tensor.ndim - 1))


def _inflate_merging(tensor: Tensor, owner: PatchMerging, *, how: str) -> Tensor:
    """Norm (4 C) -> (8 C), reduction (O, 4 C) -> (O, 8 C): each neighbour of 2D stands for two, one slice apart."""
    flat = PatchMerging(2, 1, merge_order=owner.merge_order).corners
    places = [flat.index(corner[1:]) for corner in owner.corners]
    if sorted(places) != sorted(2 * list(range(len(flat)))):
        raise ValueError(
            f"merge_order={owner.merge_order!r} reads some neighbours twice and others never, which no inflation can "
            "make up for; create the model with merge_order='fixed'"
        )
    parts = tensor.chunk(len(flat), dim=-1)
    shares = [1.0] * len(places)
    if tensor.ndim > 1:
        shares = [0.5 if how == "mean" else float(corner[0]) for corner in owner.corners]
    return torch.cat([parts[place] * share for place, share in zip(places, shares, strict=True)], dim=-1)


def _adapt_stem(translation: Translation, target: Target, *, how: str) -> Translation:
    """Fit the first convolution (dim, C_old, *kernel) to the model's input channels (dim, C_new, *kernel)."""
    weight, stem = translation.state.get(STEM), target.tensors.get(STEM)
    if weight is None or stem is None or weight.ndim != stem.ndim or weight.shape[1] == stem.shape[1]:
        return translation
    old, new = weight.shape[1], stem.shape[1]
    if how == "sum":
        adapted = (weight.sum(1, keepdim=True) / new).repeat_interleave(new, 1)
    else:
        adapted = weight[:, torch.arange(new) % old] * (old / new)
    remark = f"{STEM} {tuple(adapted.shape)} from {tuple(weight.shape)} by {how} over channels"
    return replace(translation, state={**translation.state, STEM: adapted}, reshaped=[remark, *translation.reshaped])


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
