"""Convolutions of single volumes without torch's slow path.

For an image (1, C, D, H, W) with C * D * H up to 20480, torch unfolds every neighbourhood instead of calling oneDNN: a
volume of 16 channels and 32 pixels an axis takes 13 times as long as it must. Channels-last layout, in which oneDNN is
at its best here, has a slow path of its own: 1 x 1 kernels, which are matrix products.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd


def convolve(image: Tensor, conv: nn.Module) -> Tensor:
    """What `conv`, a convolution of stride 1, makes of the image, by the fastest way: (B, C_in, *S) -> (B, C_out, *S).

    On the CPU the result has channels-last layout. Other devices, compilers and types get torch's own choice.
    """
    known = is_plain_cpu(image) and image.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if not (known and torch.backends.mkldnn.is_available()):
        return conv(image)
    image = image.to(memory_format=nd.CHANNELS_LAST[image.ndim - 2])
    if set(conv.kernel_size) == {1}:
        return nd.to_image(F.linear(nd.to_grid(image), conv.weight.flatten(1), conv.bias))
    return torch.mkldnn_convolution(
        image, conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups
    )


def is_plain_cpu(tensor: Tensor) -> bool:
    """True for values in the CPU's memory, false for what a compiler or an exporter traces."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return type(tensor) is Tensor and tensor.device.type == "cpu" and not traced
