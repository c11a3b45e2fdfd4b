"""Patch embeddings: image or grid in, coarser grid out."""

from torch import Tensor, nn

from densevit.blocks import nd


class PatchEmbed(nn.Module):
    """Strided convolution, then LayerNorm: (B, *S, C_in) -> (B, *ceil(S / stride), C_out).

    Overlapping (PVT v2, MiT) when kernel_size > stride, plain (Swin, ViT) when they are equal.
    """

    def __init__(self, spatial_dims: int, in_channels: int, dim: int, *, kernel_size: int, stride: int):
        super().__init__()
        padding = kernel_size // 2 if kernel_size > stride else 0
        self.proj = nd.CONV[spatial_dims](in_channels, dim, kernel_size, stride, padding)
        self.norm = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(nd.to_grid(self.proj(nd.to_image(x))))
