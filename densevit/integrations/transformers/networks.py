"""Networks of transformers under the names of their classes, built with the keywords of their configurations:
`create_segmentor("transformers.SegformerForSemanticSegmentation", None, backbone_options=dict(depths=...), ...)`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from inspect import Parameter
from math import prod
from typing import Any

import transformers
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn

from densevit.blocks.nd import resize
from densevit.integrations.whole import WholeNetwork, build_on_cpu, check_pictures, state_keywords
from densevit.registry import register_network

COARSEST = 32  # the whole stride of convolutional networks and of pyramids
# The number that sizes must be multiples of, from a configuration.
DIVISORS: dict[str, Callable[[Any], int]] = {
    "Beit": lambda config: 2 * config.patch_size,  # the coarsest map of its pyramid has a cell for two patches
    "DPT": lambda config: config.image_size,
    "Data2VecVision": lambda config: config.image_size,
    "MobileNetV2": lambda config: COARSEST,
    "MobileViT": lambda config: COARSEST,
    "MobileViTV2": lambda config: COARSEST,
    "Segformer": lambda config: prod(config.strides),
    "UperNet": lambda config: COARSEST,
}
ONE_SIZE = ("DPT", "Data2VecVision")  # their code lays tokens out as a square: that of `image_size`
# Shared by all configurations of transformers, and the names by which our models say the same.
NOT_TAKEN = {*(field.name for field in fields(transformers.PreTrainedConfig)), "num_channels"}
RESNET = dict(model_type="resnet", out_features=["stage1", "stage2", "stage3", "stage4"])  # UperNet's default


class Logits(nn.Module):
    """Logits of a network of transformers, at the image's size: (B, C, H, W) -> (B, K, H, W).

    `image_size` is the only size that the network takes, None for any; `keywords` are those of its forward.
    """

    def __init__(self, model: nn.Module, *, image_size: int | None = None, keywords: Mapping[str, Any] | None = None):
        super().__init__()
        self.model = model
        self.image_size = image_size
        self.keywords = dict(keywords or {})

    def forward(self, x: Tensor) -> Tensor:
        size = tuple(x.shape[2:])
        if self.image_size is not None and size != (self.image_size,) * 2:
            raise ValueError(
                f"{type(self.model).__name__} takes images of {self.image_size} x {self.image_size} pixels alone, got "
                f"{' x '.join(map(str, size))}; let it see windows of them, by roi_size and crop_size"
            )
        return resize(self.model(pixel_values=x, **self.keywords).logits, size)


def _builder(name: str) -> Callable[..., WholeNetwork]:
    kind = getattr(transformers, f"{name}ForSemanticSegmentation")

    def build(
        *,
        spatial_dims: int,
        in_channels: int,
        num_classes: int,
        divisor: int | Sequence[int] | None = None,
        **options: Any,
    ) -> WholeNetwork:
        check_pictures(f"transformers.{kind.__name__}", spatial_dims)
        given = _of_channels(name, options, in_channels)
        try:
            config = kind.config_class(num_labels=num_classes, **given)
        except (StrictDataclassError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"transformers.{kind.__name__} cannot be built with {options}: {reason}") from error
        image_size = config.image_size if name in ONE_SIZE else None
        # BEiT's table of positions is for one size of image, and is interpolated when that is asked for.
        keywords = dict(interpolate_pos_encoding=True) if name == "Beit" else {}
        return WholeNetwork(
            build_on_cpu(lambda: Logits(kind(config), image_size=image_size, keywords=keywords)),
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            num_classes=num_classes,
            divisor=DIVISORS[name](config) if divisor is None else divisor,
        )

    state_keywords(build, _parameters(kind.config_class))
    return build


def _of_channels(name: str, options: Mapping[str, Any], in_channels: int) -> dict[str, Any]:
    """Keywords of a configuration, with the channels of the image where it takes them: in that of a backbone if it has
    one. Auxiliary heads, whose logits nobody reads, are left out unless they are asked for.
    """
    without = {"use_auxiliary_head": False} if name in ("Beit", "DPT", "Data2VecVision", "UperNet") else {}
    backbone = options.get("backbone_config") or (RESNET if name == "UperNet" else None)
    channels = dict(num_channels=in_channels)
    inside = channels if backbone is None else dict(backbone_config={**backbone, **channels})
    return {**without, **options, **inside}


def _parameters(config_class: type) -> list[Parameter]:
    """The keywords of a configuration, less those that all have."""
    own = [field for field in fields(config_class) if field.name not in NOT_TAKEN]
    return [
        Parameter(
            field.name.lstrip("_"),  # `out_indices` is kept as `_out_indices`
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=field.type,
        )
        for field in own
    ]


for _name in DIVISORS:
    register_network({f"transformers.{_name}ForSemanticSegmentation": {}})(_builder(_name))
