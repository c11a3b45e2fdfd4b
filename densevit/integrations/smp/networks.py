"""Networks of segmentation_models_pytorch under their own names: `create_segmentor("smp.Unet", None, ...)`.

Their encoders are options: `backbone_options=dict(encoder_name="resnet34")`, or timm's as "tu-convnext_tiny".
"""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import segmentation_models_pytorch as smp

from densevit.integrations.whole import WholeNetwork, build_on_cpu, check_pictures, state_keywords
from densevit.registry import check_known, register_network

NAMES = (
    "DPT",
    "DeepLabV3",
    "DeepLabV3Plus",
    "FPN",
    "Linknet",
    "MAnet",
    "PAN",
    "PSPNet",
    "Segformer",
    "UPerNet",
    "Unet",
    "UnetPlusPlus",
)
# What the model itself says, what would make other things than logits, and what has another default here.
NOT_TAKEN = ("in_channels", "classes", "activation", "aux_params", "encoder_weights")
OF_TIMM = ("tu-", "timm-")  # what names of timm's encoders begin with; timm says itself which it knows


def _builder(name: str) -> Callable[..., WholeNetwork]:
    kind = getattr(smp, name)
    parameters = signature(kind).parameters

    def build(
        *,
        spatial_dims: int,
        in_channels: int,
        num_classes: int,
        divisor: int | Sequence[int] | None = None,
        encoder_weights: str | None = None,
        **options: Any,
    ) -> WholeNetwork:
        check_pictures(f"smp.{name}", spatial_dims)
        encoder = options.get("encoder_name", parameters["encoder_name"].default)
        if not str(encoder).startswith(OF_TIMM):
            check_known(encoder, smp.encoders.get_encoder_names(), what="no encoder of smp named")
        shape = dict(in_channels=in_channels, classes=num_classes)
        network = build_on_cpu(lambda: kind(**shape, encoder_weights=encoder_weights, **options))
        return WholeNetwork(
            network,
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            num_classes=num_classes,
            divisor=network.encoder.output_stride if divisor is None else divisor,
        )

    none_by_default = parameters["encoder_weights"].replace(default=None)
    theirs = (parameter for key, parameter in parameters.items() if key not in NOT_TAKEN)
    state_keywords(build, [none_by_default, *theirs])
    return build


for _name in NAMES:
    register_network({f"smp.{_name}": {}})(_builder(_name))
