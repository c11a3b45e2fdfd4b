"""MaskCLIP: each cell of the last map as a vector of CLIP's space, compared with those of classes by their cosines.

https://arxiv.org/abs/2112.01071
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.decoders.base import Decoder, DenseMap, Stride, check_sizes
from densevit.registry import DECODERS

ABSENT = -100.0  # logits of a class that is nowhere: the least that a cosine times CLIP's factor can be
LEAST = 1e-6  # probability of a class that smoothing finds nowhere


@DECODERS.register({"mask_clip": {}})
class MaskClipDecoder(Decoder):
    """[(B, C_i, *S_i)] fine to coarse -> (B, width, *S) of the last level, each cell of length 1.

    The weights are those of the head that made one vector of an image: its last layer `proj`, with `bias` where it has
    one, after with `value` the layer of values of its attention pooling (the ResNets).

    `prompt_denoising` takes a class out of an image in no cell of which it has this probability, unless no class has.
    `key_smoothing` is for cells whose likeliest class has at most this probability: they get the mean of all cells,
    weighed by the cosines of their keys in the last attention. These are made of the last level with `value`, else of
    the level before the last block. Zero is for neither; the paper has 0.5, and 1 for every cell.
    """

    keeps_places = True

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: Sequence[int],
        in_strides: Sequence[Stride],
        width: int = 512,
        value: bool = False,
        bias: bool = False,
        prompt_denoising: float = 0.0,
        key_smoothing: float = 0.0,
    ):
        check_sizes(width=width)
        for name, share in dict(prompt_denoising=prompt_denoising, key_smoothing=key_smoothing).items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be a probability from 0 to 1, got {share}")
        if key_smoothing and not value and [*in_strides[-2:]] != [in_strides[-1]] * 2:
            raise ValueError("key_smoothing reads the level before the last one, and needs it to have the same stride")
        super().__init__(spatial_dims=spatial_dims, level_channels=[width], level_strides=[in_strides[-1]])
        dim = in_channels[-1]
        self.value = nn.Linear(dim, dim) if value else nn.Identity()
        self.proj = nn.Linear(dim, width, bias=bias)
        self.prompt_denoising, self.key_smoothing = prompt_denoising, key_smoothing
        self.key = self.key_norm = None
        if key_smoothing:
            self.key = nn.Linear(dim, dim)
            self.key_norm = nn.Identity() if value else nn.LayerNorm(dim, eps=1e-5)

    def forward_levels(self, features: Sequence[Tensor]) -> list["CellMap"]:
        """The one map."""
        cells = self.proj(self.value(nd.to_grid(features[-1])))
        keys = None
        if self.key is not None:
            before = features[-1 if isinstance(self.key_norm, nn.Identity) else -2]
            keys = nd.to_image(self.key(self.key_norm(nd.to_grid(before))))
        found = nd.to_image(F.normalize(cells, dim=-1))
        return [CellMap(found, keys, self.prompt_denoising, self.key_smoothing)]

    def create_head(self, num_classes: int, *, level: int = 0) -> nn.Module:
        """A 1 x 1 convolution without bias, whose rows are classes; it begins with them of length 1 and 100 times."""
        head = nd.CONV[self.spatial_dims](self.out_channels, num_classes, 1, bias=False)
        nn.init.normal_(head.weight)
        head.weight.data.copy_(100 * F.normalize(head.weight.data, dim=1))
        return head


class CellMap(NamedTuple):
    """Cells (B, C, *S) that become logits (B, K, *S); `keys` (B, C', *S) are those of their attention."""

    values: Tensor
    keys: Tensor | None = None
    prompt_denoising: float = 0.0
    key_smoothing: float = 0.0

    def classify(self, head: nn.Module) -> DenseMap:
        """Logits, without the classes that are nowhere, and smoothed where they are unsure."""
        logits = head(self.values)
        if self.prompt_denoising:
            logits = denoise(logits, self.prompt_denoising)
        if self.keys is not None:
            logits = smooth(logits, self.keys, self.key_smoothing)
        return DenseMap(logits)

    def float(self) -> "CellMap":
        keys = None if self.keys is None else self.keys.float()
        return self._replace(values=self.values.float(), keys=keys)

    def logits(self, size: Sequence[int] | None = None) -> Tensor:
        """The cells themselves, (B, C, *S) or, resized linearly, (B, C, *size)."""
        return DenseMap(self.values).logits(size)


def denoise(logits: Tensor, threshold: float) -> Tensor:
    """(B, K, *S) -> the same, but `ABSENT` for classes that reach the probability in no cell, if any class does."""
    best = logits.softmax(1).flatten(2).amax(2)  # (B, K)
    absent = best < threshold
    absent = absent & ~absent.all(1, keepdim=True)
    return logits.masked_fill(absent.view(*absent.shape, *[1] * (logits.ndim - 2)), ABSENT)


def smooth(logits: Tensor, keys: Tensor, threshold: float) -> Tensor:
    """Logits (B, K, *S), keys (B, C, *S) -> the logarithms of smoothed probabilities (B, K, *S).

    A cell whose likeliest class has no more than the threshold gets the sum over all cells j of cos(k, k_j) p_j, over
    that of |cos(k, k_j)|, which keeps the order of classes; what is not above zero counts as next to nothing.
    """
    shares = logits.softmax(1).flatten(2)  # (B, K, N)
    directions = F.normalize(keys.flatten(2), dim=1)  # (B, C, N)
    cosines = directions.mT @ directions  # (B, N, N)
    smoothed = shares @ cosines / cosines.abs().sum(1, keepdim=True)
    sure = shares.amax(1, keepdim=True) > threshold
    return shares.where(sure, smoothed).clamp(min=LEAST).log().view_as(logits)
