"""Borders of bool masks (*S) of any rank: the voxels on them (N, n), and the cells between voxels that they cross."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import permutations, product

import numpy as np

Slices = tuple[slice, ...]
Corners = frozenset[tuple[int, ...]]

# Corners of a cell that its edges join -> the triangles (in 2D: the segments) between the midpoints of edges that cut
# them off, each as its area vector in eighths of the faces of a 3D cell and in halves of the sides of a 2D one.
PIECES = {
    2: {
        ((0, 0),): [(1, 1)],
        ((0, 0), (0, 1)): [(2, 0)],
    },
    3: {
        ((0, 0, 0),): [(1, 1, 1)],
        ((0, 0, 0), (0, 0, 1)): [(2, 2, 0), (2, 2, 0)],
        ((0, 0, 0), (0, 0, 1), (0, 1, 0)): [(4, 0, 0), (2, 2, 2), (1, 1, 1)],
        ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)): [(4, 0, 0), (4, 0, 0)],
        ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)): [(2, 2, 2), (2, 2, 2), (1, 1, 1), (1, 1, 1)],
        ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 1)): [(3, 3, 3), (1, 1, 1), (2, 0, 2), (0, 2, 2)],
    },
}
UNITS = {2: 1 / 2, 3: 1 / 8}


def border_voxels(
    mask: np.ndarray, *, unknown: np.ndarray | None = None, connectivity: int = 1, edge_is_border: bool = True
) -> np.ndarray:
    """Indices (N, n) of the mask's voxels that have a neighbour outside it.

    Neighbours differ by one step along at most `connectivity` axes (1 to n). What lies beyond the array is outside if
    `edge_is_border`; where `unknown` is set nothing is inside, and nothing there makes its neighbours border.
    """
    filled = mask if unknown is None else mask | unknown
    border = np.zeros(mask.shape, bool)
    for here, there in _neighbours(mask.ndim, connectivity):
        border[here] |= ~filled[there]
        border[there] |= ~filled[here]
    if edge_is_border:
        for axis in range(mask.ndim):
            for end in (0, -1):
                border[(slice(None),) * axis + (end,)] = True
    border &= mask
    if unknown is not None:
        border &= ~unknown
    return np.argwhere(border)


def border_cells(
    mask: np.ndarray,
    spacing: Sequence[float],
    *,
    unknown: np.ndarray | None = None,
    edge_is_border: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Cells of 2^n neighbouring voxels that the surface crosses: indices (N, n), and its area in each, mm^(n - 1).

    A cell that holds an unknown voxel has no surface; beyond the array there are cells only if `edge_is_border`.
    """
    inside = mask if unknown is None else mask & ~unknown
    padding = int(edge_is_border)
    codes = _codes(np.pad(inside, padding))
    crossed = (codes != 0) & (codes != 2**2**mask.ndim - 1)
    if unknown is not None:
        crossed &= _codes(np.pad(unknown, padding)) == 0
    cells = np.argwhere(crossed)
    return cells - padding, cell_areas(tuple(spacing))[codes[crossed]]


@lru_cache(maxsize=64)
def cell_areas(spacing: tuple[float, ...]) -> np.ndarray:
    """Area of the surface in a cell of each code: (2 ** 2 ** n,); bit k of a code is the k-th corner of the cell.

    The surface is that of marching cubes at the half-way points: it separates each group of corners that the cell's
    edges join, of the corners inside or of those outside, whichever are fewer. Corners that only a face's diagonal
    joins are separate.
    """
    rank = len(spacing)
    if rank not in PIECES:
        raise ValueError(f"surface areas are known in 2 and 3 dimensions, got spacing {spacing}; use nsd_voxel")
    faces = UNITS[rank] * np.prod(spacing) / np.array(spacing)
    pieces = {corners: np.linalg.norm(vectors * faces, axis=1).sum() for corners, vectors in _turned_pieces(rank)}
    corners = list(product((0, 1), repeat=rank))
    areas = np.zeros(2 ** len(corners))
    for code in range(len(areas)):
        inside = {corner for bit, corner in enumerate(corners) if code >> bit & 1}
        fewer = inside if 2 * len(inside) <= len(corners) else set(corners) - inside
        areas[code] = sum(pieces[group] for group in _groups(fewer))
    return areas


def _turned_pieces(rank: int) -> Iterator[tuple[Corners, np.ndarray]]:
    """Every turn and mirror image of PIECES: the corners, and the absolute area vectors (T, n)."""
    for corners, vectors in PIECES[rank].items():
        for axes in permutations(range(rank)):
            for flips in product((0, 1), repeat=rank):
                turned = frozenset(tuple(corner[a] ^ f for a, f in zip(axes, flips, strict=True)) for corner in corners)
                yield turned, np.array(vectors)[:, axes]


def _groups(corners: set[tuple[int, ...]]) -> Iterator[Corners]:
    """Parts of a set of corners that the cell's edges join."""
    left = set(corners)
    while left:
        group, front = set(), {left.pop()}
        while front:
            group |= front
            front = {a for a in left if any(sum(x != y for x, y in zip(a, b, strict=True)) == 1 for b in front)}
            left -= front
        yield frozenset(group)


def _codes(mask: np.ndarray) -> np.ndarray:
    """(*S) -> (*S - 1): which of its corners are in the mask, one bit a corner."""
    codes = np.zeros([n - 1 for n in mask.shape], np.uint8)
    for bit, corner in enumerate(product((0, 1), repeat=mask.ndim)):
        at = tuple(slice(c, n - 1 + c) for c, n in zip(corner, mask.shape, strict=True))
        codes |= mask[at].view(np.uint8) << np.uint8(bit)
    return codes


def _neighbours(rank: int, connectivity: int) -> Iterator[tuple[Slices, Slices]]:
    """Two views of an array for each pair of opposite steps: every voxel beside its neighbour."""
    for step in product((-1, 0, 1), repeat=rank):
        if step > (0,) * rank and sum(map(abs, step)) <= connectivity:
            here = tuple(slice(max(0, -s), -s if s > 0 else None) for s in step)
            yield here, tuple(slice(max(0, s), s if s < 0 else None) for s in step)
