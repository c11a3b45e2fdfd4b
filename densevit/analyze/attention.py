"""What a backbone's attention looks at: maps of a query's weights, and rollout through all layers.

https://arxiv.org/abs/2005.00928. Rows are shares of attention, (R, T + N): over T tokens before a grid, then its N
places; each row sums to 1. They are moved from a layer's queries to what came into it, last layer first, so that no
matrix of all pairs of tokens is needed, and windows, reduced and pooled grids need no way of their own.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from densevit.blocks.recorded import AttentionLayer
from densevit.blocks.tokens import CLASS

MOST_TOKENS = 4096  # of a matrix of all pairs
Size = tuple[int, ...]


def by_stage(layers: Sequence[AttentionLayer]) -> dict[str, list[AttentionLayer]]:
    """Layers of a backbone by the stage that they are in, "stage 1" and on; of others by what stands around them."""
    found: dict[str, list[AttentionLayer]] = {}
    for layer in layers:
        first, _, rest = layer.name.partition(".")
        number = rest.partition(".")[0]
        name = f"stage {int(number) + 1}" if first == "stages" and number.isdigit() else first
        found.setdefault(name, []).append(layer)
    return found


def query_row(layer: AttentionLayer, query: Sequence[float] | None = None) -> Tensor:
    """(1, T + N) of what asks: the place at `query` (a share of each axis, 0 to 1), or without one the class token;
    the mean of all places where there is none."""
    size, num_prefix = _output_size(layer), len(layer.prefix)
    row = torch.zeros(1, num_prefix + prod(size))
    if query is not None:
        place = [min(int(share * n), n - 1) for share, n in zip(query, size, strict=True)]
        row[0, num_prefix:].view(size)[tuple(place)] = 1
    elif CLASS in layer.prefix:
        row[0, layer.prefix.index(CLASS)] = 1
    else:
        row[0, num_prefix:] = 1 / prod(size)
    return row


def attention_maps(layer: AttentionLayer, query: Sequence[float] | None = None) -> Tensor:
    """(H, *S): how much each head takes from each place of the grid of its keys; see `query_row` for who asks.

    A map sums to 1 but for what is taken from tokens before the grid; see `rollout` for negative weights.
    """
    row = query_row(layer, query)
    key_size = layer.places[0].key_size
    heads = range(layer.weights[0].shape[2])
    rows = torch.cat([_ask(row, layer, head=head) for head in heads])
    return rows[:, len(layer.prefix) :].unflatten(1, key_size)


def rollout(layers: Sequence[AttentionLayer], rows: Tensor | None = None) -> Tensor:
    """Rows over the tokens that leave the last layer -> rows (R, T + N) over those that came into the first one.

    A layer's matrix is the mean of its heads' weights and the identity of its residual, half each; tokens that ask
    nothing are passed on. Weights of keys that stand for a part of the grid are shared out evenly over it, and so are
    the tokens of a coarser grid over those of the finer one before; zeros that fill up windows are left out. All rows
    by default, for up to 4096 tokens; ValueError beyond, and for a layer that does not say which tokens it joins. Of
    heads that are mixed after the softmax, negative weights count by their size, and rows are made to sum to 1.
    """
    size, prefix = _output_size(layers[-1]), layers[-1].prefix
    if rows is None:
        count = len(prefix) + prod(size)
        if count > MOST_TOKENS:
            raise ValueError(
                f"a rollout of all {count} tokens needs a matrix of all pairs, which is made of up to {MOST_TOKENS}; "
                "give a smaller image, or the rows that are wanted"
            )
        rows = torch.eye(count)
    for layer in reversed(layers):
        rows = _passed(rows, (size, prefix), (_output_size(layer), layer.prefix))
        asking = torch.zeros(rows.shape[1], dtype=torch.bool)
        for places in layer.places:
            asking[places.queries[places.queries >= 0]] = True
        attended = _spread(_ask(rows, layer), layer.places[0].key_size, layer.size, len(layer.prefix))
        kept = _spread(rows * torch.where(asking, 0.5, 1.0), _output_size(layer), layer.size, len(layer.prefix))
        rows, size, prefix = 0.5 * attended + kept, layer.size, layer.prefix
    return rows


def _ask(rows: Tensor, layer: AttentionLayer, *, head: int | None = None) -> Tensor:
    """(R, T + N) of queries -> (R, T + M) over the grid of the keys, by the weights of the first image's heads."""
    _output_size(layer)
    moved = torch.zeros(len(rows), len(layer.prefix) + prod(layer.places[0].key_size))
    asked_of = torch.cat([places.queries.flatten() for places in layer.places])
    times = asked_of[asked_of >= 0].bincount(minlength=rows.shape[1]).clamp(min=1)  # more than 1 where windows overlap
    rows = rows / times
    for places, weights in zip(layer.places, layer.weights, strict=True):
        of_heads = weights[0].float().cpu()  # (W, H, N, M)
        shares = of_heads.mean(1) if head is None else of_heads[:, head]
        shares = shares.abs() * (places.keys >= 0)[:, None]  # mixed heads may take less than nothing
        shares = shares / shares.sum(-1, keepdim=True).clamp(min=1e-30)
        asked = rows[:, places.queries.clamp(min=0)] * (places.queries >= 0)  # (R, W, N)
        given = torch.einsum("rwn,wnm->rwm", asked, shares).flatten(1)
        moved.index_add_(1, places.keys.clamp(min=0).flatten(), given)
    return moved


def _passed(rows: Tensor, of: tuple[Size, Sequence[str]], to: tuple[Size, Sequence[str]]) -> Tensor:
    """Rows over what a layer gets -> over what the layer before gave: another grid, or without tokens before it."""
    (size, prefix), (new_size, new_prefix) = of, to
    if tuple(prefix) != tuple(new_prefix):  # they came in between: what they hold comes from no place
        grid = rows[:, len(prefix) :]
        grid = grid / grid.sum(1, keepdim=True).clamp(min=1e-30)
        rows = torch.cat([rows.new_zeros(len(rows), len(new_prefix)), grid], dim=1)
    return _spread(rows, size, new_size, len(new_prefix))


def _spread(rows: Tensor, size: Size, new_size: Size, num_prefix: int) -> Tensor:
    """(R, T + N) -> (R, T + N'): each place of a grid shared out over the places of another one that it covers."""
    if tuple(size) == tuple(new_size):
        return rows
    grid = rows[:, num_prefix:].unflatten(1, size)
    for axis, (n, new) in enumerate(zip(size, new_size, strict=True), start=1):
        grid = torch.tensordot(grid.movedim(axis, -1), _overlaps(n, new), dims=1).movedim(-1, axis)
    return torch.cat([rows[:, :num_prefix], grid.flatten(1)], dim=1)


def _overlaps(n: int, new: int) -> Tensor:
    """(n, new): the share of each of n equal parts of a line that lies in each of `new` equal parts."""
    parts, others = torch.arange(n, dtype=torch.double)[:, None] / n, torch.arange(new, dtype=torch.double) / new
    common = torch.minimum(parts + 1 / n, others + 1 / new) - torch.maximum(parts, others)
    return (common.clamp(min=0) * n).float()


def _output_size(layer: AttentionLayer) -> Size:
    if not layer.places:
        raise ValueError(
            f"{layer.name or 'the module'} does not say which tokens it joins, so its attention has no place in the "
            "image: it is between channels (XCiT) or among visual tokens (VT-ResNet), or its class lacks a method "
            "`places`"
        )
    return layer.places[0].query_size
