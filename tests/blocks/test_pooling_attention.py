"""Pooling attention against its equations, written as loops over tokens in double precision."""

from fractions import Fraction
from itertools import product
from math import exp, floor, prod, sqrt

import pytest
import torch
import torch.nn.functional as F

from densevit.blocks.pooling_attention import (
    HeadPool,
    PoolingAttention,
    PoolingBlock,
    SkipPool,
    distance_rows,
    key_axes,
)
from densevit.blocks.tokens import CLASS, GridTokens, Tokens
from tools.peers.common import randomize

HEADS, WIDTH = 2, 3  # heads and channels per head


def places(size):
    return list(product(*(range(s) for s in size)))


def pooled(grid, size, *, conv, stride):
    """Depthwise 3 x 3 (x 3) convolution of one head's grid {place: (K)}, and the size of what it gives."""
    out_size = tuple(-(-s // d) for s, d in zip(size, stride, strict=True))
    out = {}
    for place in places(out_size):
        total = torch.zeros(WIDTH, dtype=torch.double)
        for offset in product((0, 1, 2), repeat=len(size)):
            source = tuple(p * d + o - 1 for p, d, o in zip(place, stride, offset, strict=True))
            if source in grid:
                total = total + conv.weight[(slice(None), 0, *offset)] * grid[source]
        out[place] = total
    return out, out_size


def norm_of(module, x):
    return F.layer_norm(x, (WIDTH,), module.weight, module.bias, 1e-6)


def resized_row(table, length, row):
    """Row `row` of a table stretched to `length` rows by straight lines between the centres of cells."""
    centre = (row + 0.5) * len(table) / length - 0.5
    centre = min(max(centre, 0.0), len(table) - 1)
    low = floor(centre)
    high = min(low + 1, len(table) - 1)
    return table[low] + (centre - low) * (table[high] - table[low])


def position_row(table, *, query, key, queries, keys):
    """The row for a query and a key along one axis: their distance on the finer of the two grids, whole cells."""
    longest = max(queries, keys)
    distance = query * Fraction(longest, queries) + (keys - 1 - key) * Fraction(longest, keys)
    return resized_row(table, 2 * longest - 1, floor(distance))


def head_tokens(module, pool, tokens, size, num_extra, *, stride):
    """Extra tokens [(K)] and grid {place: (K)} of one head after pooling and norm."""
    extra, rest = list(tokens[:num_extra]), tokens[num_extra:]
    grid = dict(zip(places(size), rest, strict=True))
    grid, size = pooled(grid, size, conv=pool.conv, stride=stride)
    return [norm_of(pool.norm, x) for x in extra], {p: norm_of(pool.norm, x) for p, x in grid.items()}, size


def neighbours(place, q_size, k_size, windows):
    """Sizes of what a query's window has of queries and keys, and where its window begins on both grids."""
    if windows is None:
        return q_size, k_size, (0,) * len(place), (0,) * len(place)
    index = [p // w for p, w in zip(place, windows[0], strict=True)]
    starts = [tuple(i * w for i, w in zip(index, window, strict=True)) for window in windows]
    return (*windows, *starts)


def naive_attention(module, state, *, q_stride, kv_stride):
    """One sample: (T + N, C) -> (T + N', C), token by token."""
    tokens, size, num_extra = state.values, state.size, len(state.prefix)
    qkv = tokens @ module.qkv.weight.T + module.qkv.bias
    heads = []
    for head in range(HEADS):
        columns = [slice((part * HEADS + head) * WIDTH, (part * HEADS + head + 1) * WIDTH) for part in range(3)]
        parts = zip(
            (module.pool_q, module.pool_k, module.pool_v), columns, (q_stride, kv_stride, kv_stride), strict=True
        )
        pools = [head_tokens(module, p, qkv[:, c], size, num_extra, stride=stride) for p, c, stride in parts]
        (q_extra, q_grid, q_size), (k_extra, k_grid, k_size), (v_extra, v_grid, _) = pools
        nothing = torch.zeros(WIDTH, dtype=torch.double)
        out = []
        for place, q in [*((None, q) for q in q_extra), *q_grid.items()]:
            own = place or (0,) * len(size)
            queries, keys, q_start, k_start = neighbours(own, q_size, k_size, module.windows)
            logits, values = [float(q @ k) / sqrt(WIDTH) for k in k_extra], list(v_extra)
            for other in places(keys):
                at = tuple(o + s for o, s in zip(other, k_start, strict=True))
                logit = float(q @ k_grid.get(at, nothing)) / sqrt(WIDTH)
                for axis, table in enumerate(module.rel_pos if place else ()):
                    along = dict(query=own[axis] - q_start[axis], key=other[axis])
                    row = position_row(table, **along, queries=queries[axis], keys=keys[axis])
                    logit += float(q @ row)
                logits.append(logit)
                values.append(v_grid.get(at, nothing))
            weights = [exp(x) for x in logits]
            attended = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
            adds = module.residual == "all" or (module.residual == "grid" and place)
            out.append(attended + q if adds else attended)
        heads.append(torch.stack(out))
    return torch.cat(heads, dim=1) @ module.proj.weight.T + module.proj.bias, q_size


def attention(spatial_dims, *, q_stride, kv_stride, tables=(), residual="all", windows=None):
    pools = [HeadPool(spatial_dims, WIDTH, stride=stride) for stride in (q_stride, kv_stride, kv_stride)]
    dim = HEADS * WIDTH
    options = dict(num_heads=HEADS, pools=pools, table_lengths=tables, residual=residual, windows=windows)
    return randomize(PoolingAttention(4, dim, **options)).double()


@pytest.mark.parametrize(
    ("size", "q_stride", "kv_stride", "tables", "num_extra", "residual"),
    [
        ((4, 4), (1, 1), (2, 2), (7, 7), 0, "all"),
        ((5, 3), (2, 2), (1, 1), (7, 11), 0, "all"),
        ((7, 5), (1, 1), (4, 2), (13, 5), 1, "grid"),
        ((5, 4), (2, 1), (2, 4), (), 1, "none"),
        ((3, 4, 5), (1, 2, 2), (1, 1, 4), (5, 9, 3), 0, "grid"),
        ((2, 3, 4), (1, 1, 1), (2, 2, 2), (9, 5, 7), 1, "all"),
        ((1, 1, 1), (2, 2, 2), (8, 8, 8), (3, 1, 5), 1, "all"),
    ],
)
def test_pooling_attention_is_its_equations(size, q_stride, kv_stride, tables, num_extra, residual):
    module = attention(len(size), q_stride=q_stride, kv_stride=kv_stride, tables=tables, residual=residual)
    tokens = torch.randn(2, num_extra + prod(size), 4, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = module(Tokens(tokens, size, (CLASS,) * num_extra))
        for sample in range(2):
            expected, expected_size = naive_attention(
                module, Tokens(tokens[sample], size, (CLASS,) * num_extra), q_stride=q_stride, kv_stride=kv_stride
            )
            torch.testing.assert_close(found.values[sample], expected, rtol=0, atol=1e-12)
    assert (found.size, found.prefix) == (expected_size, (CLASS,) * num_extra)


@pytest.mark.parametrize(
    ("size", "q_stride", "kv_stride", "windows"),
    [
        ((5, 7), (1, 1), (2, 2), ((4, 4), (2, 2))),
        ((6, 5), (2, 2), (1, 1), ((2, 2), (4, 4))),
        ((3, 4, 5), (1, 1, 1), (1, 2, 2), ((2, 2, 4), (2, 1, 2))),
    ],
)
def test_windows_attend_to_themselves_and_to_the_zeros_that_fill_them_up(size, q_stride, kv_stride, windows):
    tables = (7, 5, 9)[: len(size)]
    module = attention(len(size), q_stride=q_stride, kv_stride=kv_stride, tables=tables, windows=windows)
    tokens = torch.randn(2, prod(size), 4, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = module(Tokens(tokens, size)).values
        for sample in range(2):
            state = Tokens(tokens[sample], size)
            expected, _ = naive_attention(module, state, q_stride=q_stride, kv_stride=kv_stride)
            torch.testing.assert_close(found[sample], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_between_grids_of_one_size_the_table_is_read_as_it_is(length):
    table = torch.randn(2 * length - 1, WIDTH)
    rows = distance_rows(table, q_length=length, k_length=length)
    for query, key in product(range(length), repeat=2):
        assert torch.equal(rows[query, key], table[query - key + length - 1])


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_distances_are_those_of_the_published_formula(stride):
    """Which reckons in floating point; whole numbers must agree with it for every size that a stride can give."""
    for length in range(1, 130):
        for q, k in ((length, -(-length // stride)), (-(-length // 2), -(-length // stride))):
            q_ratio, k_ratio = max(k / q, 1.0), max(q / k, 1.0)
            published = torch.arange(q)[:, None] * q_ratio - (torch.arange(k)[None] + (1.0 - k)) * k_ratio
            rows = torch.arange(2 * max(q, k) - 1, dtype=torch.float)[:, None]
            assert torch.equal(distance_rows(rows, q_length=q, k_length=k)[..., 0].round().long(), published.long()), (
                q,
                k,
            )


def test_keys_are_marked_with_their_place_along_every_axis():
    marks = key_axes((2, 3), like=torch.zeros(1))
    assert marks.shape == (6, 5)
    assert [row.nonzero().flatten().tolist() for row in marks] == [[i, 2 + j] for i in range(2) for j in range(3)]


@pytest.mark.parametrize("size", [(5, 4), (1, 7), (3, 4, 5)], ids=str)
def test_the_stream_is_pooled_by_its_largest_values(size):
    tokens = torch.randn(2, 1 + prod(size), 3)
    pool = SkipPool(len(size), stride=2)
    found = pool(Tokens(tokens, size, (CLASS,)))
    out_size = tuple(-(-s // 2) for s in size)
    assert (found.size, found.prefix) == (out_size, (CLASS,))
    assert torch.equal(found.values[:, :1], tokens[:, :1])
    index = {place: i for i, place in enumerate(places(size), start=1)}
    for i, place in enumerate(places(out_size), start=1):
        near = [
            tuple(2 * p + o for p, o in zip(place, offset, strict=True))
            for offset in product((-1, 0, 1), repeat=len(size))
        ]
        expected = tokens[:, [index[p] for p in near if p in index]].amax(1)
        assert torch.equal(found.values[:, i], expected)


def test_every_parameter_of_a_block_gets_a_gradient():
    block = PoolingBlock(
        4, 6, attention=attention(2, q_stride=2, kv_stride=1, tables=(7, 7)), pool_skip=SkipPool(2, stride=2)
    )
    block = block.double()
    block(Tokens(torch.randn(1, 21, 4, dtype=torch.double), (4, 5), (CLASS,))).values.square().sum().backward()
    assert [name for name, p in block.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_absolute_positions_of_space_and_time_add_up_and_follow_the_size():
    module = GridTokens(4, grid=(2, 3, 4), class_token=True)
    zeros = torch.zeros(2, 2, 3, 4, 4)
    state = module(zeros)
    assert (state.size, state.prefix) == ((2, 3, 4), (CLASS,))
    expected = module.pos_embed_temporal[0][:, None] + module.pos_embed_spatial[0][None]
    torch.testing.assert_close(state.values[1, 1:].unflatten(0, (2, 12)), expected)
    torch.testing.assert_close(state.values[:, 0], (module.cls_token + module.pos_embed_class)[0].expand(2, -1))
    wide = module(torch.zeros(1, 4, 3, 4, 4)).values[0, 1:].unflatten(0, (4, 3, 4))
    line = torch.stack([resized_row(module.pos_embed_temporal[0], 4, i) for i in range(4)])
    torch.testing.assert_close(wide, line[:, None, None] + module.pos_embed_spatial[0].unflatten(0, (3, 4)))


def test_an_unknown_residual_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="residual must be one of none, grid, all, got 'some'"):
        PoolingAttention(4, 6, num_heads=2, pools=[torch.nn.Identity()] * 3, residual="some")
