"""CLIP's encoder of texts: a transformer that looks back alone, read where a text ends."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from densevit.backbones.clip_vit import EPS, QuickMlp
from densevit.blocks.attention import SelfAttention
from densevit.blocks.tokens import Relations, Tokens
from densevit.blocks.transformer import Block, Mlp
from densevit.options import check_range


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """The shape of a `TextEncoder`. `context` is the most tokens of a text, `vocab` how many different ones there are.

    `num_heads` None: heads of 64 channels. `quick_gelu` False: GELU, as in most models of open_clip.
    """

    dim: int = 512
    depth: int = 12
    num_heads: int | None = None
    context: int = 77
    vocab: int = 49408
    quick_gelu: bool = True

    def __post_init__(self) -> None:
        check_range(self, ["dim", "depth", "vocab"], least=1)
        check_range(self, ["context"], least=3)
        if self.dim % self.heads:
            raise ValueError(f"num_heads must divide dim {self.dim}, got {self.heads}")

    @property
    def heads(self) -> int:
        return max(self.dim // 64, 1) if self.num_heads is None else self.num_heads


class TextEncoder(nn.Module):
    """Numbers of tokens (B, L), L up to `context` -> one vector a text (B, width).

    A text is read at its highest number, which is that of its last token; what fills up the row after it counts for
    nothing.
    """

    def __init__(self, width: int, options: TextOptions):
        super().__init__()
        dim, depth = options.dim, options.depth
        self.embed = nn.Embedding(options.vocab, dim)
        self.pos_embed = nn.Parameter(torch.empty(options.context, dim))
        mlp = QuickMlp if options.quick_gelu else Mlp
        self.blocks = nn.ModuleList(
            Block(dim, SelfAttention(dim, num_heads=options.heads), mlp(dim), eps=EPS) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.proj = nn.Linear(dim, width, bias=False)
        self._init_weights()

    def _init_weights(self) -> None:
        """As published."""
        dim, depth = self.embed.embedding_dim, len(self.blocks)
        nn.init.normal_(self.embed.weight, std=0.02)
        nn.init.normal_(self.pos_embed, std=0.01)
        nn.init.normal_(self.proj.weight, std=dim**-0.5)
        for block in self.blocks:
            nn.init.normal_(block.attn.qkv.weight, std=dim**-0.5)
            nn.init.normal_(block.mlp.fc1.weight, std=(2 * dim) ** -0.5)
            for last in (block.attn.proj, block.mlp.fc2):
                nn.init.normal_(last.weight, std=(2 * dim * depth) ** -0.5)
            for linear in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2):
                nn.init.zeros_(linear.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        length, (most, _) = tokens.shape[1], self.pos_embed.shape
        if length > most:
            raise ValueError(f"texts may have {most} tokens, got {length}; cut them, as `TextTokenizer` does")
        back = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()  # each token sees those before
        x = Tokens(self.embed(tokens) + self.pos_embed[:length], (length,), relations=Relations(bias=back))
        for block in self.blocks:
            x = block(x)
        last = x.values[torch.arange(len(tokens), device=tokens.device), tokens.argmax(1)]  # (B, dim)
        return self.proj(self.norm(last))
