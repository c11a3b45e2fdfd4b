"""Visual tokens: a map as a few tokens, attention among them, and back to the map. https://arxiv.org/abs/2006.03677

Dimension key: B batch, *S the map's size, N its pixels, L tokens, C channels of the map, T of a token, H heads.

Two texts describe them. form="iccv" is the equations of the published paper: one head, logits not scaled.
form="arxiv" is the first preprint's appendix: several heads, maps over groups of channels, scaled logits.

Linear maps of pixels that the texts write before an attention are made on the tokens' side of the product here,
    (X W_Q) (T W_K)^T = X (T W_K W_Q^T)^T    and    A^T (X W_V) = (A^T X) W_V,
the same numbers up to rounding: a pixel meets nothing but L filters and L values.

`groups` are those of the linear maps between channels of the map and of tokens; neither text groups them, see
`backbones.vt_resnet`.
"""

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.attention import Attend, merge_heads, split_heads
from densevit.blocks.grouped_linear import GroupedLinear, linear
from densevit.blocks.tokens import VisualTokens

FORMS = ("iccv", "arxiv")


class PositionCode(nn.Module):
    """Where a token looked, in a few numbers: maps (B, L, *S) -> (B, L, out_channels).

    The map is resized to one size whatever it was, halved twice by convolutions, and flattened.
    """

    size = 16
    out_channels = 16

    def __init__(self, spatial_dims: int):
        super().__init__()
        conv = nd.CONV[spatial_dims]
        self.convs = nn.Sequential(*(conv(1, 1, 3, stride=2, padding=1) for _ in range(2)))
        self.project = nn.Linear((self.size // 4) ** spatial_dims, self.out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        batch, _, *size = maps.shape
        image = (maps * prod(size)).flatten(0, 1).unsqueeze(1)  # (B * L, 1, *S), of mean 1 at every size
        code = self.convs(nd.resize(image, nd.ntuple(self.size, len(size))))
        return self.project(code.flatten(1)).unflatten(0, (batch, -1))


class TokenEmbed(nn.Module):
    """Weighted means of pixels to tokens: means (B, L, C), maps (B, L, *S) -> (B, L, T).

    Nothing is left to do in the form "iccv" when tokens are as wide as the map and carry no position.
    """

    def __init__(
        self, spatial_dims: int, dim: int, *, token_dim: int, form: str, position: bool, num_heads: int, groups: int = 1
    ):
        super().__init__()
        self.value = GroupedLinear(dim, dim, groups=num_heads) if form == "arxiv" else nn.Identity()
        self.position = PositionCode(spatial_dims) if position else None
        width = dim + PositionCode.out_channels * position
        plain = form == "iccv" and width == token_dim
        self.project = nn.Identity() if plain else linear(width, token_dim, groups)

    def forward(self, means: Tensor, maps: Tensor) -> Tensor:
        values = self.value(means)
        if self.position is not None:
            values = torch.cat([values, self.position(maps).to(values.dtype)], dim=-1)
        return self.project(values)


class FilterTokenizer(nn.Module):
    """One learned filter a token, a softmax over pixels: grid (B, *S, C) -> VisualTokens (B, L, T), (B, L, *S)."""

    def __init__(
        self,
        spatial_dims: int,
        dim: int,
        *,
        token_dim: int,
        num_tokens: int = 8,
        form: str = "iccv",
        position: bool = False,
        num_heads: int = 16,
        groups: int = 1,
    ):
        super().__init__()
        if num_tokens < 1:
            raise ValueError(f"num_tokens must be at least 1, got {num_tokens}")
        self.scale = dim**-0.5 if form == "arxiv" else 1.0
        self.filters = nn.Linear(dim, num_tokens, bias=False)
        self.embed = TokenEmbed(
            spatial_dims, dim, token_dim=token_dim, form=form, position=position, num_heads=num_heads, groups=groups
        )

    def forward(self, x: Tensor) -> VisualTokens:
        means, maps = _pool(x, self.scale * self.filters.weight[None, None])
        return VisualTokens(self.embed(means, maps), maps)


class RecurrentTokenizer(nn.Module):
    """Filters made from earlier tokens: grid (B, *S, C), VisualTokens -> VisualTokens (B, L, T), (B, L, *S).

    In the form "arxiv" the first half of the tokens asks for new ones, which follow the other half, kept as it was.
    """

    def __init__(
        self,
        spatial_dims: int,
        dim: int,
        *,
        token_dim: int,
        form: str = "iccv",
        position: bool = False,
        num_heads: int = 16,
        groups: int = 1,
    ):
        super().__init__()
        self.num_heads = num_heads if form == "arxiv" else 1
        self.query = linear(token_dim, dim, groups)
        self.key = GroupedLinear(dim, dim, groups=num_heads) if form == "arxiv" else None
        self.embed = TokenEmbed(
            spatial_dims, dim, token_dim=token_dim, form=form, position=position, num_heads=num_heads, groups=groups
        )
        if self.key is None:  # logits that are not scaled begin with variance 1
            nn.init.normal_(self.query.weight, std=(token_dim // groups * dim) ** -0.5)

    def forward(self, x: Tensor, tokens: VisualTokens) -> VisualTokens:
        num_asking = tokens.values.shape[1] if self.key is None else -(-tokens.values.shape[1] // 2)
        filters = self.query(tokens.values[:, :num_asking])  # (B, L, C)
        if self.key is not None:
            filters = self.key.transposed(filters) * (filters.shape[-1] // self.num_heads) ** -0.5
        means, maps = _pool(x, split_heads(filters, self.num_heads))
        values = self.embed(means, maps)
        if self.key is None:
            return VisualTokens(values, maps)
        kept = VisualTokens(*(part[:, num_asking:] for part in tokens))
        return VisualTokens(torch.cat([kept.values, values], dim=1), torch.cat([kept.maps, maps], dim=1))


class TokenTransformer(nn.Module):
    """Attention of every token to every token, then a feed-forward net, both residual: (B, L, T) -> (B, L, T).

    "iccv": what is attended to is the tokens themselves; two layers with a ReLU between them follow.
    "arxiv": keys and queries half as wide, in half as many groups as heads; one layer without activation follows.
    """

    def __init__(self, *, token_dim: int, form: str = "iccv", num_heads: int = 16):
        super().__init__()
        multi = form == "arxiv"
        self.num_heads, self.scale = (num_heads, None) if multi else (1, 1.0)  # None: 1 / sqrt(channels of a head)
        groups = max(num_heads // 2, 1) if multi else 1
        attended = token_dim // 2 if multi else token_dim
        self.key = GroupedLinear(token_dim, attended, groups=groups)
        self.query = GroupedLinear(token_dim, attended, groups=groups)
        self.value = GroupedLinear(token_dim, token_dim, groups=groups) if multi else nn.Identity()
        self.attend = Attend()
        self.fc1 = nn.Linear(token_dim, token_dim, bias=False)
        self.fc2 = None if multi else nn.Linear(token_dim, token_dim, bias=False)
        if attended % self.num_heads:
            raise ValueError(f"{num_heads} heads must divide half the tokens' width, {attended}; choose other widths")
        if not multi:
            for layer in (self.key, self.query):
                nn.init.normal_(layer.weight, std=token_dim**-0.75)

    def forward(self, tokens: Tensor) -> Tensor:
        parts = (self.query(tokens), self.key(tokens), self.value(tokens))
        q, k, v = (split_heads(part, self.num_heads) for part in parts)
        tokens = tokens + merge_heads(self.attend(q, k, v, scale=self.scale))
        out = self.fc1(tokens)
        return tokens + (out if self.fc2 is None else self.fc2(F.relu(out)))


class Projector(nn.Module):
    """Each pixel takes from the tokens, by a softmax over tokens: grid (B, *S, C), (B, L, T) -> (B, *S, C)."""

    def __init__(self, dim: int, *, token_dim: int, form: str = "iccv", num_heads: int = 16, groups: int = 1):
        super().__init__()
        self.num_heads = num_heads if form == "arxiv" else 1
        self.scale = None if form == "arxiv" else 1.0
        self.attend = Attend()
        self.query = GroupedLinear(dim, dim, groups=num_heads if form == "arxiv" else groups)
        self.key = linear(token_dim, dim, groups)
        self.value = linear(token_dim, dim, groups)
        if form == "iccv":
            nn.init.normal_(self.query.weight, std=(dim // groups) ** -0.5 * dim**-0.25)
            nn.init.normal_(self.key.weight, std=(token_dim // groups) ** -0.5 * dim**-0.25)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        filters = self.query.transposed(self.key(tokens))  # (B, L, C)
        parts = (x.flatten(1, -2), filters, self.value(tokens))
        q, k, v = (split_heads(part, self.num_heads) for part in parts)
        return x + merge_heads(self.attend(q, k, v, scale=self.scale)).reshape(x.shape)


class VisualTransformer(nn.Module):
    """One round over a pyramid: [(B, *S_i, C)], their VisualTokens so far or None -> the same two, renewed.

    A tokenizer a level, one transformer over the tokens of all levels, a projector a level.
    """

    def __init__(self, tokenizers: Sequence[nn.Module], transformer: nn.Module, projectors: Sequence[nn.Module]):
        super().__init__()
        self.tokenizers = nn.ModuleList(tokenizers)
        self.transformer = transformer
        self.projectors = nn.ModuleList(projectors)

    def forward(
        self, grids: Sequence[Tensor], tokens: Sequence[VisualTokens] | None
    ) -> tuple[list[Tensor], list[VisualTokens]]:
        inputs = zip(grids, strict=True) if tokens is None else zip(grids, tokens, strict=True)
        made = [tokenizer(*level) for tokenizer, level in zip(self.tokenizers, inputs, strict=True)]
        joined = self.transformer(torch.cat([level.values for level in made], dim=1))
        values = joined.split([level.values.shape[1] for level in made], dim=1)
        grids = [projector(x, v) for projector, x, v in zip(self.projectors, grids, values, strict=True)]
        return grids, [VisualTokens(v, level.maps) for v, level in zip(values, made, strict=True)]


def _pool(x: Tensor, filters: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax over pixels, weighted means: (B, *S, C), (B, H, L, C / H) -> means (B, L, C), maps (B, L, *S).

    Plain products: kernels of fused attention share out the queries, of which there are few, and the maps are wanted.
    """
    pixels = split_heads(x.flatten(1, -2), filters.shape[1])  # (B, H, N, C / H)
    weights = (pixels @ filters.transpose(-1, -2)).softmax(dim=-2).transpose(-1, -2)  # (B, H, L, N)
    return merge_heads(weights @ pixels), weights.mean(dim=1).unflatten(-1, x.shape[1:-1])
