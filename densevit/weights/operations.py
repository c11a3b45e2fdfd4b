"""What a row of a key map may do to its tensors, and how it is undone: name -> (theirs to ours, ours to theirs)."""

from collections.abc import Callable
from math import isqrt

import torch
from torch import Tensor


def _pointwise(tensors: list[Tensor]) -> list[Tensor]:
    """1 x 1 convolution -> linear: (O, I, 1, 1) -> (O, I); biases and real kernels stay as they are."""
    return [t.flatten(1) if t.ndim > 2 and set(t.shape[2:]) == {1} else t for t in tensors]


def _unpointwise(tensors: list[Tensor]) -> list[Tensor]:
    return [t[:, :, None, None] if t.ndim == 2 else t for t in tensors]


def _flip_levels(tensors: list[Tensor]) -> list[Tensor]:
    """(dim, levels * dim) -> the same with its blocks of columns in the opposite order."""
    return [torch.cat(t.split(t.shape[0], dim=1)[::-1], dim=1) for t in tensors]


def _split_qkv(tensors: list[Tensor]) -> list[Tensor]:
    return list(tensors[0].split([len(tensors[0]) // 3, len(tensors[0]) - len(tensors[0]) // 3]))


def _from_perceptron(tensors: list[Tensor]) -> list[Tensor]:
    """Linear on patches of 16 (p1, p2(, p3), C) -> convolution: (O, 16 ** n * C) -> (O, C, 16, 16(, 16))."""

    def kernel(weight: Tensor) -> Tensor:
        axes = 3 if weight.shape[1] % 16**3 == 0 else 2
        return weight.unflatten(1, (*[16] * axes, -1)).movedim(-1, 1)

    return [kernel(t) if t.ndim == 2 else t for t in tensors]


def _to_perceptron(tensors: list[Tensor]) -> list[Tensor]:
    return [t.movedim(1, -1).flatten(1) if t.ndim > 2 else t for t in tensors]


def _from_unfolded(tensors: list[Tensor]) -> list[Tensor]:
    """Patches merged by `nn.Unfold`, (..., channel, row, column) -> Swin's own (..., column, row, channel)."""
    return [t.unflatten(-1, (-1, 2, 2)).transpose(-3, -1).flatten(-3) for t in tensors]


def _to_unfolded(tensors: list[Tensor]) -> list[Tensor]:
    return [t.unflatten(-1, (2, 2, -1)).transpose(-3, -1).flatten(-3) for t in tensors]


def _squeeze_time(tensor: Tensor) -> Tensor:
    """A kernel of one frame -> a kernel of images: (O, I, 1, h, w) -> (O, I, h, w)."""
    return tensor.squeeze(2) if tensor.ndim == 5 and tensor.shape[2] == 1 else tensor


def _frame_kernel(tensors: list[Tensor]) -> list[Tensor]:
    """A kernel of images -> a kernel of one frame: (O, I, h, w) -> (O, I, 1, h, w); biases stay as they are."""
    return [t.unsqueeze(2) if t.ndim == 4 else t for t in tensors]


def _without_key_bias(tensors: list[Tensor]) -> list[Tensor]:
    """Biases of queries, keys and values (3 C) -> of queries and values (2 C)."""
    q, _, v = tensors[0].chunk(3)
    return [torch.cat([q, v])]


def _with_key_bias(tensors: list[Tensor]) -> list[Tensor]:
    q, v = tensors[0].chunk(2)
    return [torch.cat([q, torch.zeros_like(q), v])]


def _windows_of(kernel: int) -> tuple["Operation", "Operation"]:
    """Windows of a picture flattened by `nn.Unfold`, (..., C * k * k) -> (..., C, k, k)."""
    return (
        lambda tensors: [t.unflatten(-1, (-1, kernel, kernel)) for t in tensors],
        lambda tensors: [t.flatten(-3) for t in tensors],
    )


def _give_class_position(tensors: list[Tensor]) -> list[Tensor]:
    """A class token, and a table (1, N, C) without a row for it -> the token, and a table with one of zeros."""
    token, table = tensors
    return [token, torch.cat([torch.zeros_like(table[:, :1]), table], dim=1)]


def _take_class_position(tensors: list[Tensor]) -> list[Tensor]:
    token, table = tensors
    return [token + table[:, :1], table[:, 1:]]


def _grid_table(tensors: list[Tensor]) -> list[Tensor]:
    """A table of positions (1, N, C) -> of a square (1, side, side, C)."""
    side = isqrt(tensors[0].shape[1])
    return [tensors[0].unflatten(1, (side, side))]


def _from_flax(tensors: list[Tensor]) -> list[Tensor]:
    """A kernel (*size, I, O) -> (O, I, *size), also of a linear layer."""
    return [tensors[0].movedim((-1, -2), (0, 1))]


def _to_flax(tensors: list[Tensor]) -> list[Tensor]:
    return [tensors[0].movedim((0, 1), (-1, -2))]


def _from_spread(tensors: list[Tensor]) -> list[Tensor]:
    """(1, 1, 1, C) -> (C)"""
    return [tensors[0].flatten()]


def _to_spread(tensors: list[Tensor]) -> list[Tensor]:
    return [tensors[0][None, None, None]]


def _from_flax_heads(tensors: list[Tensor]) -> list[Tensor]:
    """Kernels (C, H, K), such as those of queries, keys and values -> (3 C, C); biases (H, K) -> (3 C)."""
    return [torch.cat([t.flatten(1).mT if t.ndim == 3 else t.flatten() for t in tensors])]


def _to_flax_heads(parts: int) -> "Operation":
    return lambda tensors: [_heads(part.mT if part.ndim == 2 else part, -1) for part in tensors[0].chunk(parts)]


def _from_flax_out(tensors: list[Tensor]) -> list[Tensor]:
    """(H, K, C) -> (C, H * K)"""
    return [tensors[0].flatten(0, 1).mT]


def _to_flax_out(tensors: list[Tensor]) -> list[Tensor]:
    return [_heads(tensors[0].mT, 0)]


def _heads(tensor: Tensor, axis: int) -> Tensor:
    """Channels of an axis by heads of 64, or 80 as in ViT-H; one head where they do not fit."""
    width = tensor.shape[axis]
    size = 80 if width == 1280 else 64 if width % 64 == 0 else width
    return tensor.unflatten(axis, (-1, size))


Operation = Callable[[list[Tensor]], list[Tensor]]
# Name -> (theirs to ours, ours to theirs), both on the list of tensors of one row.
OPERATIONS: dict[str, tuple[Operation, Operation]] = {
    "same": (lambda tensors: tensors, lambda tensors: tensors),
    "pointwise": (_pointwise, _unpointwise),
    "pointwise_finest_first": (lambda t: _flip_levels(_pointwise(t)), lambda t: _unpointwise(_flip_levels(t))),
    "join": (lambda tensors: [torch.cat(tensors)], lambda tensors: list(tensors[0].chunk(2))),
    "join_qkv": (lambda tensors: [torch.cat(tensors)], lambda tensors: list(tensors[0].chunk(3))),
    "split_qkv": (_split_qkv, lambda tensors: [torch.cat(tensors)]),
    "perceptron": (_from_perceptron, _to_perceptron),
    "squeeze_time": (lambda tensors: [_squeeze_time(t) for t in tensors], lambda tensors: tensors),
    "frame_kernel": (_frame_kernel, lambda tensors: [_squeeze_time(t) for t in tensors]),
    "transposed": (lambda tensors: [tensors[0].mT], lambda tensors: [tensors[0].mT.contiguous()]),
    "split_class": (lambda tensors: [tensors[0][:, :1], tensors[0][:, 1:]], lambda tensors: [torch.cat(tensors, 1)]),
    "as_row": (lambda tensors: [tensors[0][None, None]], lambda tensors: [tensors[0][0, 0]]),
    "as_table": (lambda tensors: [tensors[0][None]], lambda tensors: [tensors[0][0]]),
    "flat_table": (lambda tensors: [tensors[0].flatten(1, -2)], _grid_table),
    "without_key_bias": (_without_key_bias, _with_key_bias),
    "give_class_position": (_give_class_position, _take_class_position),
    "unfolded": (_from_unfolded, _to_unfolded),
    "windows_of_3": _windows_of(3),
    "windows_of_7": _windows_of(7),
    "flax": (_from_flax, _to_flax),
    "flax_pointwise": (lambda t: _pointwise(_from_flax(t)), lambda t: _to_flax(_unpointwise(t))),
    "spread": (_from_spread, _to_spread),
    **{f"flax_{parts}": (_from_flax_heads, _to_flax_heads(len(parts))) for parts in ("q", "kv", "qkv")},
    "flax_out": (_from_flax_out, _to_flax_out),
}
