"""The convolutional residual block of UNETR and Swin UNETR. https://arxiv.org/abs/2103.10504"""

from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.convolution import convolve
from densevit.blocks.instance_norm import instance_norm

SLOPE = 0.01  # of the leaky ReLU


class ResidualConv(nn.Module):
    """Two 3 x 3 (x 3) convolutions with instance norm and leaky ReLU: (B, C_in, *S) -> (B, C_out, *S).

    The shortcut is the input itself, or a normed 1 x 1 convolution of it where the widths differ.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int):
        super().__init__()
        conv = nd.CONV[spatial_dims]
        self.conv1 = conv(in_channels, out_channels, 3, padding=1, bias=False)
        self.conv2 = conv(out_channels, out_channels, 3, padding=1, bias=False)
        self.conv3 = conv(in_channels, out_channels, 1, bias=False) if in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        y = instance_norm(convolve(x, self.conv1), slope=SLOPE)
        y = convolve(y, self.conv2)
        shortcut = x if self.conv3 is None else instance_norm(convolve(x, self.conv3))
        return instance_norm(y, residual=shortcut, slope=SLOPE)
