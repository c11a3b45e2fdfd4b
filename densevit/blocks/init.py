"""Initial values of fresh weights, as the hierarchical families publish them."""

from math import prod, sqrt

from torch import nn

from densevit.blocks import nd


def init_vit_weights(module: nn.Module) -> None:
    """Linear: truncated normal 0.02; convolution: normal with variance 2 / fan-out; biases 0. For `module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nd.CONVOLUTIONS):
        fan_out = prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=sqrt(2 / fan_out))
    if isinstance(module, (nn.Linear, *nd.CONVOLUTIONS)) and module.bias is not None:
        nn.init.zeros_(module.bias)
