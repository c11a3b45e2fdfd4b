"""What plain backbones share: a row of blocks on one grid, some of whose outputs leave as levels of one stride."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod

from torch import nn

from densevit.backbones.base import Backbone, Stage
from densevit.blocks import nd
from densevit.blocks.transformer import PatchEmbed, drop_path_rates, init_vit_weights


def plain_backbone(
    embed: nn.Module,
    blocks: Sequence[nn.Module],
    *,
    spatial_dims: int,
    in_channels: int,
    dim: int,
    stride: int | Sequence[int],
    taps: Sequence[int] | None = None,
    norm: nn.Module | None = None,
    normed: str = "last",
    class_head: Callable[[int], nn.Module] | None = None,
) -> Backbone:
    """A backbone (B, C, *S) -> [(B, dim, *ceil(S / stride)) for each tap], one stage a tap.

    `embed` maps the grid (B, *S, C) to that of the blocks, or to Tokens. `taps` are the blocks, counted from 0, whose
    outputs leave as levels; the end of each quarter by default. `norm` is the final norm, and `normed` says which
    levels pass it: "last", "all" or "none". `class_head` is that of `Backbone`.
    """
    taps = _check_taps(quarter_ends(len(blocks)) if taps is None else taps, len(blocks))
    parts = [blocks[a + 1 : b + 1] for a, b in pairwise([-1, *taps])]
    return Backbone(
        [Stage(nn.Identity() if i else embed, part) for i, part in enumerate(parts)],
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=[dim] * len(taps),
        out_strides=[stride if isinstance(stride, int) else tuple(stride)] * len(taps),
        out_norms=_final_norms(normed, nn.Identity() if norm is None else norm, len(taps)),
        class_head=class_head,
    )


def quarter_ends(depth: int) -> list[int]:
    """The last block of each quarter of so many, counted from 0; of fewer than four, every block."""
    return sorted({(i + 1) * depth // 4 - 1 for i in range(4)} - {-1})


def _check_taps(taps: Sequence[int], depth: int) -> list[int]:
    if list(taps) != sorted({*taps, depth - 1}) or taps[0] < 0:
        raise ValueError(f"taps must rise from 0 or more to {depth - 1}, the last of {depth} blocks, got {tuple(taps)}")
    return list(taps)


def _final_norms(which: str, norm: nn.Module, count: int) -> list[nn.Module]:
    """The final norm for each level that passes it: one module, whose weights are shared where there are several."""
    normed = {"last": [count - 1], "all": range(count), "none": []}
    if which not in normed:
        raise ValueError(f"norm must be 'last', 'all' or 'none', got {which!r}")
    return [norm if i in normed[which] else nn.Identity() for i in range(count)]


def vit_backbone(
    embed: PatchEmbed,
    make_block: Callable[[float], nn.Module],
    *,
    depth: int,
    drop_path: float,
    eps: float,
    spatial_dims: int,
    taps: Sequence[int] | None,
    norm: str,
    class_head: Callable[[int], nn.Module] | None = None,
) -> Backbone:
    """A ViT with fresh weights: `depth` blocks on the patches of `embed`, each made for its rate of stochastic depth.

    `norm` says which levels pass the final LayerNorm; `taps` and `class_head` are those of `plain_backbone`.
    """
    dim, in_channels, *patch = embed.proj.weight.shape
    backbone = plain_backbone(
        embed,
        [make_block(rate) for rate in drop_path_rates(drop_path, [depth])[0]],
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        dim=dim,
        stride=nd.plain(patch),
        taps=taps,
        norm=nn.LayerNorm(dim, eps=eps),
        normed=norm,
        class_head=class_head,
    )
    backbone.apply(init_vit_weights)
    nn.init.trunc_normal_(embed.proj.weight, std=(in_channels * prod(patch)) ** -0.5)  # linear on patches: by fan-in
    return backbone
