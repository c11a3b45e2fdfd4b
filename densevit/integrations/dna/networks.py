"""nnU-Net's U-Nets as it plans them for crops of a size: `create_segmentor("dna.ResEncUNet", None, ...)`.

ResEncUNet is the network of the presets ResEnc M, L and XL (https://arxiv.org/abs/2404.09556), which differ in the
memory that they fill, thus in crops and batches: `presets.plan_crop` gives those. PlainConvUNet is nnU-Net's default.
Those of given stages are in `unet`.
"""

from collections.abc import Sequence

from densevit.blocks import nd
from densevit.integrations.dna.plan import plan_stages
from densevit.integrations.dna.unet import build_unet
from densevit.integrations.whole import WholeNetwork
from densevit.registry import register_network

WIDEST = {2: 512, 3: 320}  # channels of the coarsest stages
BLOCKS = (1, 3, 4, 6)  # residual ones of the first stages; the others have as many as the last
VARIANTS = {"dna.PlainConvUNet": dict(residual=False), "dna.ResEncUNet": dict(residual=True)}


@register_network(VARIANTS)
def planned_unet(
    *,
    spatial_dims: int = 3,
    in_channels: int,
    num_classes: int,
    residual: bool,
    crop_size: int | Sequence[int],
    spacing: float | Sequence[float] = 1.0,
    dim: int = 32,
    deep_supervision: bool = False,
) -> WholeNetwork:
    """The U-Net that nnU-Net plans for crops of `crop_size` voxels of `spacing` millimetres, weights as it begins them.

    `dim` is the width of the first stage. With `deep_supervision` every map of the decoder is classified in training.
    """
    sizes = nd.ntuple(crop_size, spatial_dims)
    spacings = (spacing,) * spatial_dims if isinstance(spacing, int | float) else tuple(spacing)
    stages = plan_stages(sizes, spacings)
    count = len(stages.strides)
    if count < 2:
        raise ValueError(f"crop_size={sizes} cannot be halved once; give an axis 12 voxels, or two axes 8")
    blocks = [BLOCKS[min(i, len(BLOCKS) - 1)] for i in range(count)] if residual else [2] * count
    network = build_unet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        num_classes=num_classes,
        residual=residual,
        dims=[min(dim * 2**i, WIDEST[spatial_dims]) for i in range(count)],
        kernel_sizes=stages.kernel_sizes,
        strides=stages.strides,
        depths=blocks,
        decoder_depths=[1 if residual else 2] * (count - 1),
        deep_supervision=deep_supervision,
    )
    network.apply(network.initialize)
    return WholeNetwork(
        network,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        num_classes=num_classes,
        divisor=stages.divisor,
        num_maps=count - 1 if deep_supervision else 1,
    )
