"""Window attention and patch merging against plain loops, and what both promise."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from densevit.blocks.window import MERGE_ORDERS, SMALL_MAPS, PatchMerging, WindowAttention, relative_position_index

# (size of the grid, window): whole windows, odd sizes, one window, less than a window, windows longer along some axes.
CASES = [
    ((8, 12), (4, 4)),
    ((7, 9), (4, 4)),
    ((5, 5), (5, 5)),
    ((3, 11), (4, 4)),
    ((2, 1), (4, 4)),
    ((9, 10), (2, 5)),
    ((6, 4, 5), (2, 2, 2)),
    ((5, 7, 3), (3, 3, 3)),
    ((4, 6, 7), (1, 3, 4)),
    ((2, 2, 3), (3, 3, 3)),
]


def make(size, window, *, shifted=True, heads=2, dim=6, small_maps="shift"):
    torch.manual_seed(0)
    layer = WindowAttention(len(size), dim, num_heads=heads, window_size=window, shifted=shifted, small_maps=small_maps)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer.double().eval()


def cells(size):
    return list(product(*(range(s) for s in size)))


def attend_by_loops(layer, grid, *, window, shift, table_window):
    """Every token by itself: its window, the tokens of it, the bias of each pair, and -100 between regions."""
    size, heads = grid.shape[:-1], layer.num_heads
    padded = [-(-s // w) * w for s, w in zip(size, window, strict=True)]
    # A token is known by its place after the roll by -shift: `home` is where it lies in the picture.
    home = {new: tuple((n + s) % p for n, s, p in zip(new, shift, padded, strict=True)) for new in cells(padded)}
    region = {
        new: tuple(
            0 if n < p - w or s == 0 else 1 if n < p - s else 2
            for n, p, w, s in zip(new, padded, window, shift, strict=True)
        )
        for new in home
    }
    whole = F.pad(grid, [0, 0] + [x for s, p in zip(size[::-1], padded[::-1], strict=True) for x in (0, p - s)])
    places = cells(window)
    out = torch.zeros(*padded, grid.shape[-1], dtype=grid.dtype)
    for corner in product(*(range(0, p, w) for p, w in zip(padded, window, strict=True))):
        tokens = [tuple(c + q for c, q in zip(corner, place, strict=True)) for place in places]
        q, k, v = layer.qkv(torch.stack([whole[home[t]] for t in tokens])).unflatten(-1, (3, heads, -1)).unbind(1)
        for h in range(heads):
            logits = q[:, h] @ k[:, h].T / q.shape[-1] ** 0.5
            for a, b in product(range(len(tokens)), repeat=2):
                logits[a, b] += layer.relative_position_bias_table[table_row(a, b, table_window), h]
                logits[a, b] += 0 if region[tokens[a]] == region[tokens[b]] else -100
            mixed = logits.softmax(-1) @ v[:, h]
            for token, value in zip(tokens, mixed, strict=True):
                out[home[token]].view(heads, -1)[h] = value
    return layer.proj(out)[tuple(slice(s) for s in size)]


def table_row(a, b, window):
    """Row of the pair of the a-th and the b-th position of a window."""
    row = 0
    for i, j, w in zip(cells(window)[a], cells(window)[b], window, strict=True):
        row = row * (2 * w - 1) + i - j + w - 1
    return row


@pytest.mark.parametrize("window", [(3,), (2, 3), (2, 3, 2), (1, 4)], ids=str)
def test_a_pair_of_positions_has_the_row_of_its_offset(window):
    n = len(cells(window))
    expected = torch.tensor([[table_row(a, b, window) for b in range(n)] for a in range(n)])
    assert torch.equal(relative_position_index(window), expected)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("size", "window"), CASES, ids=str)
def test_attention_equals_a_loop_over_windows_and_pairs(size, window, shifted):
    layer, x = make(size, window, shifted=shifted), torch.randn(2, *size, 6, dtype=torch.double)
    shift = [w // 2 if shifted else 0 for w in window]
    with torch.no_grad():
        expected = [attend_by_loops(layer, grid, window=window, shift=shift, table_window=window) for grid in x]
        torch.testing.assert_close(layer(x), torch.stack(expected), rtol=0, atol=1e-10)


@pytest.mark.parametrize("small_maps", ["no_shift", "shrink"])
@pytest.mark.parametrize(("size", "window"), CASES, ids=str)
def test_an_axis_that_one_window_covers_is_not_shifted_and_may_shrink_the_window(size, window, small_maps):
    layer, x = make(size, window, small_maps=small_maps), torch.randn(1, *size, 6, dtype=torch.double)
    covered = [s <= w for s, w in zip(size, window, strict=True)]
    shift = [0 if c else w // 2 for c, w in zip(covered, window, strict=True)]
    fitted = [s if c and small_maps == "shrink" else w for s, w, c in zip(size, window, covered, strict=True)]
    with torch.no_grad():
        expected = attend_by_loops(layer, x[0], window=fitted, shift=shift, table_window=window)
        torch.testing.assert_close(layer(x)[0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [(9, 6), (5, 6, 4)], ids=str)
def test_the_result_of_a_sample_does_not_depend_on_its_batch(size):
    layer, x = make(size, 4), torch.randn(3, *size, 6, dtype=torch.double)
    torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]))


def test_one_mask_serves_all_windows_that_need_the_same(monkeypatch):
    masks = []

    def attention(q, k, v, attn_mask, scale):
        masks.append((tuple(attn_mask.shape), len(q)))
        return F.softmax(q @ k.mT * q.shape[-1] ** -0.5 + attn_mask, dim=-1) @ v

    layer, x = make((8, 12), 4), torch.randn(3, 8, 12, 6, dtype=torch.double)
    expected = layer(x)
    monkeypatch.setattr(F, "scaled_dot_product_attention", attention)
    torch.testing.assert_close(layer(x), expected)
    # 2 x 3 windows for each of 3 samples: both axes wrap, rows, columns, neither.
    assert sorted(masks) == [((1, 2, 16, 16), n * 3) for n in (1, 1, 2, 2)]


@pytest.mark.parametrize(("size", "small_maps"), [((9, 6), "shift"), ((3, 8, 5), "shrink")], ids=str)
def test_attention_compiles_into_one_graph_and_exports(size, small_maps):
    layer = make(size, 4, small_maps=small_maps).float()
    x = torch.randn(2, *size, 6)
    expected = layer(x)
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), expected)
    torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), expected)


def test_attention_runs_on_the_meta_device_and_after_leaving_it():
    with torch.device("meta"):
        layer = WindowAttention(2, 6, num_heads=2, window_size=4, shifted=True)
    assert layer(torch.empty(1, 5, 9, 6, device="meta")).shape == (1, 5, 9, 6)
    filled, x = make((5, 9), 4).float(), torch.randn(1, 5, 9, 6)
    layer.to_empty(device="cpu").load_state_dict(filled.state_dict())
    torch.testing.assert_close(layer(x), filled(x), rtol=0, atol=0)


def test_training_works_after_inference_mode():
    layer = WindowAttention(2, 6, num_heads=2, window_size=4, shifted=True)
    with torch.inference_mode():
        layer(torch.randn(1, 9, 6, 6))
    layer(torch.randn(1, 9, 6, 6)).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    assert layer.relative_position_bias_table.grad.abs().sum() > 0


@pytest.mark.parametrize("small_maps", SMALL_MAPS)
def test_gradients_are_those_of_finite_differences(small_maps):
    layer = make((3, 5), (2, 3), heads=1, dim=2, small_maps=small_maps)
    x = torch.randn(1, 3, 5, 2, dtype=torch.double, requires_grad=True)
    table = layer.relative_position_bias_table

    def run(x, table):
        return torch.func.functional_call(layer, {"relative_position_bias_table": table}, (x,))

    assert torch.autograd.gradcheck(run, (x, table.detach().requires_grad_()))


def test_attention_under_autocast_stays_near_full_precision():
    layer = WindowAttention(2, 32, num_heads=2, window_size=4, shifted=True)
    x = torch.randn(2, 9, 6, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), layer(x), rtol=0.05, atol=0.02)


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="small_maps must be one of shift, no_shift, shrink, got 'pad'"):
        WindowAttention(2, 6, num_heads=2, window_size=4, small_maps="pad")
    with pytest.raises(ValueError, match="merge_order must be one of fixed, legacy, v2, got 'old'"):
        PatchMerging(3, 6, merge_order="old")
    with pytest.raises(ValueError, match="window_size must be at least 1"):
        WindowAttention(2, 6, num_heads=2, window_size=(0, 4))
    with pytest.raises(ValueError, match="expected 3 values"):
        WindowAttention(3, 6, num_heads=2, window_size=(4, 4))


ORDERS = {
    (2, "fixed"): "00 10 01 11",
    (2, "legacy"): "00 10 01 11",
    (2, "v2"): "00 10 01 11",
    (3, "fixed"): "000 100 010 001 110 101 011 111",
    (3, "legacy"): "000 100 010 001 101 010 001 111",
    (3, "v2"): "000 001 010 011 100 101 110 111",
}


@pytest.mark.parametrize(("spatial_dims", "order"), [(n, order) for n in (2, 3) for order in MERGE_ORDERS])
def test_merging_stacks_the_neighbours_in_the_published_order(spatial_dims, order):
    merging = PatchMerging(spatial_dims, 3, merge_order=order)
    merging.norm, merging.reduction = torch.nn.Identity(), torch.nn.Identity()
    x = torch.randn(2, *[3] * spatial_dims, 3)
    whole = F.pad(x, [0, 0] + [0, 1] * spatial_dims)
    for place in cells([2] * spatial_dims):
        neighbours = [
            tuple(2 * p + int(o) for p, o in zip(place, offset, strict=True))
            for offset in ORDERS[spatial_dims, order].split()
        ]
        expected = torch.cat([whole[(slice(None), *neighbour)] for neighbour in neighbours], dim=-1)
        assert torch.equal(merging(x)[(slice(None), *place)], expected)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_merging_halves_every_axis_rounded_up_and_doubles_the_channels(spatial_dims):
    merging = PatchMerging(spatial_dims, 4)
    assert merging(torch.randn(1, *(5, 4, 1)[:spatial_dims], 4)).shape == (1, *(3, 2, 1)[:spatial_dims], 8)
    assert merging.reduction.bias is None
