"""Positions: learned tables resized to any grid, fixed sines and cosines, tokens that stand before the grid."""

from itertools import product
from math import cos, sin

import pytest
import torch

from densevit.blocks.position import (
    LearnedPositions,
    PrefixTokens,
    SinCosPositions,
    make_positions,
    resize_positions,
    sincos_positions,
)
from densevit.blocks.tokens import CLASS, DISTILLATION, as_tokens

GRIDS = {2: (3, 4), 3: (2, 3, 4)}
LINEAR = {2: "bilinear", 3: "trilinear"}


@pytest.mark.parametrize("num_tokens", [0, 1, 2])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_on_its_own_grid_a_table_is_added_row_by_row(spatial_dims, num_tokens):
    grid = GRIDS[spatial_dims]
    positions = LearnedPositions(6, grid=grid, num_tokens=num_tokens, mode=LINEAR[spatial_dims])
    x = torch.randn(2, *grid, 6)
    out = as_tokens(positions(x)).values
    torch.testing.assert_close(out[:, num_tokens:], x.reshape(2, -1, 6) + positions.pos_embed[:, num_tokens:])
    for row, name in enumerate(("cls_token", "dist_token")[:num_tokens]):
        expected = positions.tokens.get_parameter(name)[0, 0] + positions.pos_embed[0, row]
        torch.testing.assert_close(out[:, row], expected.expand(2, -1))


@pytest.mark.parametrize("size", [(6, 8), (1, 1), (3, 9)], ids=str)
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_resized_table_keeps_its_token_rows_and_its_mean_plane(mode, size):
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    table = torch.cat([torch.tensor([[100.0], [200.0]]), (2 + 3 * rows + 5 * columns).reshape(-1, 1)])[None]
    resized = resize_positions(table, grid=(16, 16), size=size, mode=mode)
    assert resized.shape == (1, 2 + size[0] * size[1], 1)
    assert resized[0, :2, 0].tolist() == [100, 200]
    assert resized[0, 2:].mean().item() == pytest.approx(2, abs=1e-3)
    cells = resized[0, 2:, 0].reshape(size)
    assert (cells.diff(dim=0) > 0).all()
    assert (cells.diff(dim=1) > 0).all()


def test_a_table_of_as_many_cells_in_another_shape_is_resized_too():
    table = torch.randn(1, 16, 3)
    assert resize_positions(table, grid=(4, 4), size=(4, 4), mode="bilinear") is table
    assert not torch.equal(resize_positions(table, grid=(4, 4), size=(2, 8), mode="bilinear"), table)


@pytest.mark.parametrize("size", [(3, 4), (5, 9)])
def test_the_table_learns_at_every_size(size):
    positions = LearnedPositions(6, grid=(3, 4), num_tokens=1, mode="bicubic")
    positions(torch.zeros(1, *size, 6)).values.square().sum().backward()
    assert (positions.pos_embed.grad.abs().sum(-1) > 0).all()
    assert (positions.tokens.cls_token.grad != 0).all()


@pytest.mark.parametrize("to_end", [False, True])
@pytest.mark.parametrize(("spatial_dims", "dim"), [(2, 8), (2, 10), (3, 12), (3, 16)])
def test_sines_and_cosines_are_those_of_each_coordinate(spatial_dims, dim, to_end):
    size = GRIDS[spatial_dims]
    table = sincos_positions(size, dim, to_end=to_end)
    assert table.shape == (*size, dim)
    count = dim // (2 * spatial_dims)
    order = {2: (1, 0), 3: (1, 0, 2)}[spatial_dims]
    for cell in product(*map(range, size)):
        expected = []
        for axis in order:
            angles = [cell[axis] / 10000 ** (i / (count - to_end)) for i in range(count)]
            expected += [*map(sin, angles), *map(cos, angles)]
        expected += [0.0] * (dim - len(expected))
        assert table[cell].tolist() == pytest.approx(expected, abs=1e-6)


def test_sines_and_cosines_of_a_cell_do_not_depend_on_the_size_of_the_grid():
    torch.testing.assert_close(sincos_positions((9, 7), 16)[:3, :4], sincos_positions((3, 4), 16))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_sines_and_cosines_keep_the_type_of_the_grid(dtype):
    assert SinCosPositions(8)(torch.zeros(1, 3, 4, 8, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("kind", ["learned", "sincos", None])
def test_tokens_stand_before_the_grid_and_a_grid_without_tokens_stays_a_grid(kind):
    x = torch.randn(2, 3, 4, 8)
    alone = make_positions(kind, 8, grid=(3, 4), mode="bilinear")
    assert alone(x).shape == x.shape
    tokens = make_positions(kind, 8, grid=(3, 4), num_tokens=2, mode="bilinear")
    assert tokens(x).values.shape == (2, 14, 8)
    assert (tokens(x).size, tokens(x).prefix) == ((3, 4), (CLASS, DISTILLATION))
    if kind != "learned":
        torch.testing.assert_close(tokens(x).grid, alone(x))
        assert torch.equal(tokens(x).values[0, :2], torch.cat([p[0] for p in tokens.parameters()]))


@pytest.mark.parametrize("size", [(3, 4), (5, 2)])
@pytest.mark.parametrize("kind", ["learned", "sincos", None])
def test_positions_compile_as_one_graph(kind, size):
    positions = make_positions(kind, 8, grid=(3, 4), num_tokens=1, mode="bicubic")
    x = torch.randn(2, *size, 8)
    compiled = torch.compile(positions, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x).values, positions(x).values)


def test_positions_made_under_inference_mode_serve_training_afterwards():
    positions = SinCosPositions(8, num_tokens=1)
    x = torch.randn(1, 3, 4, 8)
    with torch.inference_mode():
        positions(x)
    positions(x.requires_grad_()).values.sum().backward()
    assert x.grad is not None


def test_unknown_kinds_and_counts_are_refused():
    with pytest.raises(ValueError, match="must be 'learned', 'sincos', 'big_vision_sincos' or None, got 'rope'"):
        make_positions("rope", 8, grid=(3, 4), mode="bilinear")
    with pytest.raises(ValueError, match=r"num_tokens must be 0, 1 \(class\) or 2 .* got 3"):
        PrefixTokens(8, num_tokens=3)
