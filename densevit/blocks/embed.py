"""Patch embeddings: image or grid in, coarser grid out."""

from torch import Tensor, nn

from densevit.blocks import nd


class PatchEmbed(nn.Module):
    """Strided convolution, then LayerNorm: (B, *S, C_in) -> (B, *ceil(S / stride), C_out).

    Overlapping (PVT v2, MiT) when kernel_size > stride; plain (Swin, ViT) when they are equal: then zeros at the far
    ends fill the last patches.
    """

    def __init__(self, spatial_dims: int, in_channels: int, dim: int, *, kernel_size: int, stride: int):
        super().__init__()
        self.patch = None if kernel_size > stride else nd.ntuple(stride, spatial_dims)
        padding = 0 if self.patch else kernel_size // 2
        self.proj = nd.CONV[spatial_dims](in_channels, dim, kernel_size, stride, padding)
        self.norm = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        if self.patch:
            x = nd.pad_to_at_least(x, [-(-s // p) * p for s, p in zip(x.shape[1:-1], self.patch, strict=True)])
        return self.norm(nd.to_grid(self.proj(nd.to_image(x))))
