"""TimeSformer: a ViT of clips, whose attention is divided between time and space. https://arxiv.org/abs/2102.05095

In 3D the axes are (frames, rows, columns): patches lie in single frames, so that every level keeps all frames, and the
slices of a volume can stand for frames. In 2D there is one frame, and what is left is the ViT of space-only attention.
Weights of a plain ViT with a class token make a network of clips by `load_weights(..., inflate="center")`: attention
over time gets those of attention within frames, and adds nothing until it is trained. Then each frame has the ViT's
maps where all frames are the same, or attention is space-only; otherwise frames share the mean of their class tokens.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone
from densevit.backbones.plain import vit_backbone
from densevit.blocks import nd
from densevit.blocks.attention import Places, SelfAttention
from densevit.blocks.position import LearnedPositions, resize_positions
from densevit.blocks.tokens import CLASS, Tokens
from densevit.blocks.traced import is_plain_cpu
from densevit.blocks.transformer import Block, DropPath, Mlp, PatchEmbed
from densevit.registry import BACKBONES

VARIANTS = {
    "timesformer_base": dict(num_frames=8),
    "timesformer_hr": dict(num_frames=16, image_size=448),
    "timesformer_l": dict(num_frames=96),
}
ATTENTIONS = ("divided", "joint", "space")
EPS = 1e-6


@BACKBONES.register(VARIANTS)
def timesformer(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int = 768,
    depth: int = 12,
    num_heads: int = 12,
    patch_size: int | Sequence[int] = 16,
    image_size: int | Sequence[int] = 224,
    num_frames: int,
    attention: str | None = None,
    taps: Sequence[int] | None = None,
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `attention` of clips is "divided" (over time, then within each frame; the default), "joint" (of all cells among all)
    or "space" (within each frame alone). Pictures are single frames, and have "space". `patch_size` and `image_size`
    are those of a frame, (rows, columns); tables of positions are made for `image_size` and `num_frames`, and the cells
    and frames of other clips take the nearest of their rows. `taps` are the blocks, counted from 0, whose outputs leave
    as levels; the end of each quarter by default. The last one passes the final norm.
    """
    frame = nd.ntuple(patch_size, 2)
    grid, of_clips = nd.ceil_div(nd.ntuple(image_size, 2), frame), spatial_dims > len(frame)
    attention = _check_attention(attention, of_clips=of_clips)
    if of_clips:
        positions = ClipPositions(dim, grid=grid, num_frames=None if attention == "space" else num_frames)
    else:
        positions = LearnedPositions(dim, grid=grid, num_tokens=1, mode="nearest")
    patch = (1, *frame) if of_clips else frame
    embed = PatchEmbed(spatial_dims, in_channels, dim, kernel_size=patch, stride=patch, norm=False, position=positions)

    def make_block(rate: float) -> nn.Module:
        if of_clips and attention != "joint":
            return ClipBlock(dim, num_heads=num_heads, divided=attention == "divided", drop_path=rate)
        return Block(dim, SelfAttention(dim, num_heads=num_heads), Mlp(dim), drop_path=rate, eps=EPS)

    backbone = vit_backbone(
        embed, make_block, depth=depth, drop_path=drop_path, eps=EPS, spatial_dims=spatial_dims, taps=taps, norm="last"
    )
    return backbone.apply(_start_as_vit)


def _check_attention(attention: str | None, *, of_clips: bool) -> str:
    known = ATTENTIONS if of_clips else ("space",)
    if attention not in (None, *known):
        hint = "" if of_clips else ": pictures are single frames; clips need spatial_dims=3"
        raise ValueError(f"attention must be {' or '.join(map(repr, known))}, got {attention!r}{hint}")
    return known[0] if attention is None else attention


class ClipPositions(LearnedPositions):
    """Positions in the frame and in time, and a class token: (B, D, H, W, C) -> Tokens (B, T + D * N, C).

    `num_frames` are those of the table of time, which starts at zero. Without it frames know nothing of each other, and
    each has a class token of its own.
    """

    def __init__(self, dim: int, *, grid: Sequence[int], num_frames: int | None):
        super().__init__(dim, grid=grid, num_tokens=1, mode="nearest")
        self.time_embed = None if num_frames is None else nn.Parameter(torch.zeros(1, num_frames, dim))

    def forward(self, x: Tensor) -> Tokens:
        size = x.shape[1:-1]  # (D, H, W)
        table = resize_positions(self.pos_embed, grid=self.grid, size=size[1:], mode=self.mode)
        first, cells = table[:, :1], table[:, 1:].unflatten(1, size[1:])  # (1, 1, C), (1, H, W, C)
        if self.time_embed is None:
            tokens = (self.tokens.cls_token + first).expand(len(x), size[0], -1)
            return Tokens(torch.cat([tokens, (x + cells).flatten(1, -2)], dim=1), tuple(size), (CLASS,) * size[0])
        line = F.interpolate(self.time_embed.mT, size=size[0], mode=self.mode).mT  # (1, D, C)
        return self.tokens(x + (cells[:, None] + line[:, :, None, None]), first)


class FrameAttention(SelfAttention):
    """Attention within each frame, whose first token is the class token: (B * D, 1 + N, C) -> (B * D, 1 + N, C)."""

    def places(self, size: Sequence[int], prefix: Sequence[str] = ()) -> list[Places]:
        """One window a frame; the class token of the clip is in all of them."""
        first = torch.arange(len(prefix))[:, None].expand(size[0], -1)
        tokens = torch.cat([first, len(prefix) + nd.count_places(size).view(size[0], -1)], dim=1)
        return [Places(tokens, tokens, tuple(size), tuple(size))]


class TimeAttention(SelfAttention):
    """Attention of a cell to the same cell in all frames, then `fc`: (B * N, D, C) -> (B * N, D, C).

    Stochastic depth comes before `fc`, as published. Without it the last two linear layers are one, which is made of
    both where that costs less.
    """

    def __init__(self, dim: int, *, num_heads: int, drop_path: float = 0.0):
        super().__init__(dim, num_heads=num_heads)
        self.fc = nn.Linear(dim, dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        if self.training or not is_plain_cpu(x) or x.shape[:-1].numel() <= x.shape[-1]:
            return self.fc(self.drop_path(super().forward(x)))
        return F.linear(self.mix(x), self.fc.weight @ self.proj.weight, self.fc(self.proj.bias))

    def places(self, size: Sequence[int], prefix: Sequence[str] = ()) -> list[Places]:
        """One window a cell of a frame."""
        tokens = len(prefix) + nd.count_places(size).view(size[0], -1).T
        return [Places(tokens, tokens, tuple(size), tuple(size))]


class ClipBlock(nn.Module):
    """Attention over time if `divided`, attention within each frame, and an Mlp: Tokens (B, T + D * N, C) -> the same.

    One class token takes part in every frame, and the mean of what it gets is added to it; or each frame has one.
    Stochastic depth drops time for a cell, space for a frame, the Mlp for a clip, as published.
    """

    def __init__(self, dim: int, *, num_heads: int, divided: bool, drop_path: float = 0.0):
        super().__init__()
        self.temporal_norm1 = nn.LayerNorm(dim, eps=EPS) if divided else None
        self.temporal_attn = TimeAttention(dim, num_heads=num_heads, drop_path=drop_path) if divided else None
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = FrameAttention(dim, num_heads=num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tokens) -> Tokens:
        count, frames = len(x.prefix), x.size[0]
        first, grid = x.values[:, :count], x.values[:, count:].unflatten(1, (frames, -1))  # (B, D, N, C)
        if self.temporal_attn is not None:
            cells = self.temporal_norm1(grid.transpose(1, 2)).flatten(0, 1)  # (B * N, D, C)
            grid = grid + self.temporal_attn(cells).unflatten(0, (len(grid), -1)).transpose(1, 2)
        of_frames = torch.cat([first[:, :, None].expand(-1, frames, -1, -1), grid], dim=2)  # (B, D, 1 + N, C)
        gained = self.drop_path(self.attn(self.norm1(of_frames.flatten(0, 1)))).unflatten(0, (-1, frames))
        of_class = gained[:, :, 0] if count == frames else gained[:, :, 0].mean(1, keepdim=True)
        values = torch.cat([first + of_class, (grid + gained[:, :, 1:]).flatten(1, 2)], dim=1)
        return x._replace(values=values + self.drop_path(self.mlp(self.norm2(values))))


def _start_as_vit(module: nn.Module) -> None:
    """Nothing is gained over time at first. For `module.apply`."""
    if isinstance(module, TimeAttention):
        nn.init.zeros_(module.fc.weight)
