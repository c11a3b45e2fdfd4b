"""The modern block: rotary positions of any rank, SwiGLU, LayerScale, norms of queries and keys, equations as loops."""

from itertools import product
from math import cos, exp, log, pi, sin

import pytest
import torch
import torch.nn.functional as F

from densevit.blocks.attention import SelfAttention, turn
from densevit.blocks.rope import AxialRope, Jitter, Relate
from densevit.blocks.tokens import Relations, Tokens, as_tokens
from densevit.blocks.transformer import Block, LayerScale, Mlp, SwiGLU
from tools.peers.common import randomize

SIZES = {2: (3, 5), 3: (2, 3, 4)}
DOUBLE = dict(dtype=torch.double)
LIKE = torch.empty(0, **DOUBLE)


def angles_by_loops(size, head_dim, *, base, reference=None):
    """(N, K / 2), cell by cell and pair by pair."""
    half, n = head_dim // 2, len(size)
    count = half // n
    rows = []
    for cell in product(*map(range, size)):
        row = [0.0] * half
        for axis, place in enumerate(cell):
            if reference is None:
                coordinate = 2 * pi * (2 * (place + 0.5) / size[axis] - 1)
            else:
                coordinate = place * reference[axis] / size[axis]
            for i in range(count):
                row[axis * count + i] = coordinate / base ** (i / count)
        rows.append(row)
    return torch.tensor(rows, **DOUBLE)


@pytest.mark.parametrize("head_dim", [12, 16])
@pytest.mark.parametrize("reference", [None, 7])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_each_axis_turns_its_share_of_the_channels(spatial_dims, reference, head_dim):
    size = SIZES[spatial_dims]
    reference = None if reference is None else (reference,) * spatial_dims
    found = AxialRope(head_dim, spatial_dims, base=50.0, reference=reference)(size, like=LIKE)
    angles = angles_by_loops(size, head_dim, base=50.0, reference=reference)
    torch.testing.assert_close(found, (angles.cos(), angles.sin()), rtol=0, atol=1e-13)


def turned_by_loops(vector, angles, *, pairs):
    """Each pair of channels as a complex number times exp(i angle)."""
    half, out = len(angles), list(vector)
    for j, angle in enumerate(angles):
        a, b = (2 * j, 2 * j + 1) if pairs else (j, j + half)
        turned = complex(vector[a], vector[b]) * complex(cos(angle), sin(angle))
        out[a], out[b] = turned.real, turned.imag
    return torch.tensor(out, **DOUBLE)


@pytest.mark.parametrize("pairs", [False, True])
def test_products_of_queries_and_keys_are_those_of_turned_pairs(pairs):
    angles = torch.randn(4, 3, **DOUBLE)
    relations = Relations(neighbours=pairs).turned(angles.cos(), angles.sin())
    q, k = torch.randn(2, 1, 1, 4, 6, **DOUBLE)
    logits = (turn(q, relations) @ turn(k, relations).mT)[0, 0]
    for i, j in product(range(4), repeat=2):
        turned = [turned_by_loops(x[0, 0, at].tolist(), angles[at].tolist(), pairs=pairs) for x, at in ((q, i), (k, j))]
        torch.testing.assert_close(logits[i, j], turned[0] @ turned[1])


def test_products_depend_on_the_distance_of_cells_alone():
    rope = Relate(AxialRope(16, 2, reference=(6, 6)))
    relations = rope(torch.zeros(1, 6, 6, 4, **DOUBLE)).relations
    q, k = (torch.randn(16, **DOUBLE).expand(1, 1, 36, 16) for _ in range(2))
    logits = (turn(q, relations) @ turn(k, relations).mT).reshape(6, 6, 6, 6)
    torch.testing.assert_close(logits[:5, :4, :5, :4], logits[1:, 2:, 1:, 2:])


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_tokens_before_the_grid_are_not_turned(spatial_dims):
    size = SIZES[spatial_dims]
    tokens = as_tokens(torch.randn(2, *size, 12))
    tokens = tokens._replace(values=F.pad(tokens.values, (0, 0, 2, 0)), prefix=("class", "register"))
    relations = Relate(AxialRope(12, spatial_dims))(tokens).relations
    heads = torch.randn(1, 1, tokens.values.shape[1], 12)
    turned = turn(heads, relations)
    assert torch.equal(turned[:, :, :2], heads[:, :, :2])
    assert not torch.equal(turned[:, :, 2:], heads[:, :, 2:])


def test_jitter_changes_training_alone_and_within_its_bounds():
    jitter = Jitter(shift=0.5, jitter=1.5, rescale=2.0)
    line = torch.linspace(-1, 1, 5, **DOUBLE)
    for _ in range(20):
        rows, columns = jitter.apply([line, line])
        for found in (rows, columns):
            factor = (found[-1] - found[0]) / 2
            assert 1 / 3 <= factor <= 3
            assert (found.mean() / factor).abs() <= 0.5
        ratio = ((rows[-1] - rows[0]) / (columns[-1] - columns[0])).item()
        assert abs(log(ratio)) <= 2 * log(1.5)  # the common factor has gone
    rope = AxialRope(8, 2, jitter=Jitter(rescale=2.0))
    first, second = (rope.train()((4, 4), like=LIKE)[0] for _ in range(2))
    assert not torch.equal(first, second)
    plain = AxialRope(8, 2)((4, 4), like=LIKE)[0]
    assert torch.equal(rope.eval()((4, 4), like=LIKE)[0], plain)


def test_a_jitter_that_shrinks_is_refused():
    with pytest.raises(ValueError, match=r"rescale must be a factor of 1 or more, got 0.5"):
        Jitter(rescale=0.5)
    with pytest.raises(ValueError, match="shift must be 0 or more"):
        Jitter(shift=-1.0)
    with pytest.raises(ValueError, match="from 4 on to rotate, got 3"):
        AxialRope(3, 2)


def attended_by_loops(module, x, angles):
    """One batch entry (N, C), head by head and key by key."""
    n, dim = x.shape
    width = dim // module.num_heads
    zeros = torch.zeros(dim, **DOUBLE)
    bias = torch.cat([module.qv_bias[:dim], zeros, module.qv_bias[dim:]])
    q, k, v = (x @ module.qkv.weight.T + bias).split(dim, dim=1)
    out = torch.zeros(n, dim, **DOUBLE)
    for head in range(module.num_heads):
        part = slice(head * width, (head + 1) * width)
        queries, keys = module.q_norm(q[:, part]), module.k_norm(k[:, part])
        queries, keys = (
            [turned_by_loops(row.tolist(), angles[i].tolist(), pairs=False) for i, row in enumerate(rows)]
            for rows in (queries, keys)
        )
        for i in range(n):
            weights = [exp((queries[i] @ key).item() / width**0.5) for key in keys]
            out[i, part] = sum(w * v[j, part] for j, w in enumerate(weights)) / sum(weights)
    return module.norm(out) @ module.proj.weight.T + module.proj.bias


def test_attention_norms_queries_and_keys_then_turns_them():
    module = randomize(SelfAttention(16, num_heads=2, qkv_bias="qv", qk_norm=True, inner_norm=True)).double()
    x = torch.randn(1, 2, 3, 16, **DOUBLE)
    relations = Relate(AxialRope(8, 2))(x).relations
    angles = angles_by_loops((2, 3), 8, base=100.0)
    with torch.no_grad():
        expected = attended_by_loops(module, x[0].flatten(0, 1), angles)
        torch.testing.assert_close(module(x, relations)[0].flatten(0, 1), expected)


def test_an_unknown_bias_is_refused():
    with pytest.raises(ValueError, match="qkv_bias must be True, False or 'qv', got 'q'"):
        SelfAttention(8, num_heads=2, qkv_bias="q")


@pytest.mark.parametrize("norm", [False, True])
def test_swiglu_is_a_gate_times_a_value(norm):
    module = randomize(SwiGLU(6, ratio=2, norm=norm)).double()
    x = torch.randn(5, 6, **DOUBLE)
    gate, value = (x @ module.w12.weight.T + module.w12.bias).split(12, dim=1)
    hidden = gate / (1 + (-gate).exp()) * value
    expected = module.norm(hidden) @ module.w3.weight.T + module.w3.bias
    torch.testing.assert_close(module(x), expected)
    assert (module.norm.__class__.__name__ == "LayerNorm") == norm


def test_layer_scale_weighs_the_channels_of_both_branches():
    block = randomize(Block(8, SelfAttention(8, num_heads=2), Mlp(8), layer_scale=0.1)).double()
    x = torch.randn(1, 6, 8, **DOUBLE)
    middle = x + block.ls1.gamma * block.attn(block.norm1(x))
    expected = middle + block.ls2.gamma * block.mlp(block.norm2(middle))
    torch.testing.assert_close(block(x), expected)
    assert LayerScale(3, 0.1).gamma.tolist() == pytest.approx([0.1] * 3)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_block_attends_by_the_relations_of_its_tokens(spatial_dims):
    size = SIZES[spatial_dims]
    block = randomize(Block(12, SelfAttention(12, num_heads=2), SwiGLU(12)))
    tokens = Relate(AxialRope(6, spatial_dims))(torch.randn(2, *size, 12))
    plain = Tokens(tokens.values, tokens.size)
    assert block(tokens).relations is tokens.relations
    assert not torch.allclose(block(tokens).values, block(plain).values)


def test_inflated_positions_and_counted_tokens_make_every_slice_what_a_picture_is():
    """The tokens of each slice of a volume that repeats one are the picture's, and so is the class token."""
    block = randomize(Block(16, SelfAttention(16, num_heads=2, qkv_bias="qv"), SwiGLU(16))).double()
    picture, first = torch.randn(1, 3, 5, 16, **DOUBLE), torch.randn(1, 2, 16, **DOUBLE)
    volume = picture[:, None].expand(-1, 4, -1, -1, -1)
    found = []
    for grid, inflated in ((picture, False), (volume, True)):
        tokens = as_tokens(grid)._replace(prefix=("class", "register"))
        tokens = tokens._replace(values=torch.cat([first, tokens.values], dim=1))
        relate = Relate(AxialRope(8, grid.ndim - 2, inflated=inflated), counted=inflated)
        found.append(block(block(relate(tokens))))
    flat, deep = found
    torch.testing.assert_close(deep.values[:, :2], flat.values[:, :2], rtol=0, atol=1e-12)
    torch.testing.assert_close(deep.grid, flat.grid[:, None].expand_as(deep.grid), rtol=0, atol=1e-12)


def test_the_rates_of_a_new_axis_learn():
    rope = AxialRope(8, 3, inflated=True)
    assert [tuple(p.shape) for p in rope.parameters()] == [(1, 4)]
    sines = rope((2, 3, 4), like=LIKE)[1]
    (sines * torch.randn_like(sines)).sum().backward()
    assert (rope.rates.grad != 0).all()
    assert list(AxialRope(8, 2, inflated=True).parameters()) == []
