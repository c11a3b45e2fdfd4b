"""Patch embeddings: image or grid in, coarser grid out."""

from collections.abc import Sequence

from torch import Tensor, nn

from densevit.blocks import nd


class PatchEmbed(nn.Module):
    """Strided convolution, then LayerNorm: (B, *S, C_in) -> (B, *ceil(S / stride), C_out).

    Overlapping (PVT v2, MiT, MViT) when kernel_size > stride; plain (Swin, ViT) when they are equal: then zeros at the
    far ends fill the last patches. `norm=False` leaves the norm out (ViT, MViT). `position` comes last: it adds
    positions to the grid (ViT, PVT v1), and may make it tokens by putting a class token in front.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        dim: int,
        *,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int],
        norm: bool = True,
        position: nn.Module | None = None,
    ):
        super().__init__()
        kernel, strides = nd.ntuple(kernel_size, spatial_dims), nd.ntuple(stride, spatial_dims)
        self.patch = strides if kernel == strides else None
        padding = 0 if self.patch else tuple(k // 2 for k in kernel)
        self.proj = nd.CONV[spatial_dims](in_channels, dim, kernel, strides, padding)
        self.norm = nn.LayerNorm(dim, eps=1e-5) if norm else nn.Identity()
        self.position = nn.Identity() if position is None else position

    def forward(self, x: Tensor) -> Tensor:
        if self.patch:
            x = nd.pad_to_multiple(x, self.patch)
        return self.position(self.norm(nd.to_grid(self.proj(nd.to_image(x)))))
