"""T2T-ViT written out plainly under the names of its authors: no package that we compare with has it."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import densevit
from tools.peers.common import copy_weights, randomize


class WrittenOutT2T(nn.Module):
    """Image (B, 3, H, W), whose size is that of the positions -> logits; `maps` gives the cells after each block."""

    def __init__(self, size: Sequence[int], *, dim: int, depth: int, num_heads: int, ratio: float, performer: bool):
        super().__init__()
        self.cells = [side // 16 for side in size]
        self.tokens_to_token = Tokens(dim, performer=performer)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.cells[0] * self.cells[1], dim), requires_grad=False)
        self.blocks = nn.ModuleList(Layer(dim, num_heads, ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.norm(self.tokens(image)[-1])[:, 0])

    def maps(self, image: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """What leaves these blocks, the last of which passes the norm."""
        tokens = self.tokens(image)
        tokens[-1] = self.norm(tokens[-1])
        return [tokens[k][:, 1:].mT.unflatten(2, self.cells) for k in blocks]

    def tokens(self, image: Tensor) -> list[Tensor]:
        cells = self.tokens_to_token(image)
        x = torch.cat([self.cls_token.expand(len(cells), -1, -1), cells], dim=1) + self.pos_embed
        found = []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found


class Tokens(nn.Module):
    def __init__(self, dim: int, *, performer: bool):
        super().__init__()
        step = Performer if performer else Transformer
        self.attention1, self.attention2 = step(3 * 49), step(64 * 9)
        self.project = nn.Linear(64 * 9, dim)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        x = self.attention1(F.unfold(image, 7, stride=4, padding=2).mT)
        x = x.mT.unflatten(2, (height // 4, width // 4))
        x = self.attention2(F.unfold(x, 3, stride=2, padding=1).mT)
        x = x.mT.unflatten(2, (height // 8, width // 8))
        return self.project(F.unfold(x, 3, stride=2, padding=1).mT)


class Performer(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.norm1, self.kqv, self.proj = nn.LayerNorm(dim), nn.Linear(dim, 3 * 64), nn.Linear(64, 64)
        self.norm2, self.mlp = nn.LayerNorm(64), nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64))
        self.w = nn.Parameter(torch.zeros(32, 64), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        k, q, v = self.kqv(self.norm1(x)).split(64, dim=-1)
        k, q = self.features(k), self.features(q)
        total = torch.einsum("bnm,bm->bn", q, k.sum(1))[:, :, None]
        attended = torch.einsum("bnm,bcm->bnc", q, torch.einsum("bnc,bnm->bcm", v, k)) / (total + 1e-8)
        x = v + self.proj(attended)
        return x + self.mlp(self.norm2(x))

    def features(self, x: Tensor) -> Tensor:
        squares = (x * x).sum(-1, keepdim=True) / 2
        return torch.exp(torch.einsum("bnc,mc->bnm", x, self.w) - squares) / 32**0.5


class Attention(nn.Module):
    """`dim` channels come in, heads of `inner` channels each; with `shortcut` the values are added."""

    def __init__(self, dim: int, inner: int, num_heads: int, *, shortcut: bool = False):
        super().__init__()
        self.scale, self.num_heads, self.shortcut = (dim // num_heads) ** -0.5, num_heads, shortcut
        self.qkv, self.proj = nn.Linear(dim, 3 * inner, bias=False), nn.Linear(inner, inner)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, scale=self.scale).transpose(1, 2).flatten(2)
        return v[:, 0] + self.proj(out) if self.shortcut else self.proj(out)


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Transformer(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), Attention(dim, 64, 1, shortcut=True)
        self.norm2, self.mlp = nn.LayerNorm(64), Mlp(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Layer(nn.Module):
    def __init__(self, dim: int, num_heads: int, ratio: float):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), Attention(dim, dim, num_heads)
        self.norm2, self.mlp = nn.LayerNorm(dim), Mlp(dim, int(dim * ratio))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def t2t_pair(
    size: Sequence[int], *, performer: bool = True, dim: int = 48, depth: int = 4, num_heads: int = 3
) -> tuple[nn.Module, nn.Module]:
    """Classifiers of 10 classes for images of one size, theirs and ours."""
    shape = dict(dim=dim, depth=depth, num_heads=num_heads, performer=performer)
    theirs = randomize(WrittenOutT2T(size, ratio=2, **shape))
    ours = densevit.create_classifier("t2t_vit_7", num_classes=10, image_size=size, **shape)
    return theirs, copy_weights(theirs, ours, source="yitu_t2t_vit" if performer else "yitu_t2t_vit_t")
