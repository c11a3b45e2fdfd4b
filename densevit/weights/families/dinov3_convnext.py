"""DINOv3's ConvNeXts."""

from densevit.backbones.dinov3_convnext import VARIANTS
from densevit.weights.families.dinov3_vit import LICENCE, TRAINED_ON, WEB
from densevit.weights.family import Family, Release, Row, names_like, within
from densevit.weights.published import at_hub

_BLOCK, _DOWN = "stages.{i}.blocks.{j}.", "stages.{i}.downsample."


def _rows(block: str, names: tuple[str, str, str, str, str], norm: str) -> tuple[Row, ...]:
    """Of the blocks that are named so, whose parts are: convolution, norm, two linear layers, scale; the last norm."""
    conv, before, fc1, fc2, scale = names
    parts = ((conv, "dwconv"), (before, "norm"), (fc1, "mlp.fc1"), (fc2, "mlp.fc2"), (f"{scale}!", "ls.gamma!"))
    return (*within(block, _BLOCK, *parts), (norm, "out_norms.3"))


def _downsampling(stem: str, later: str) -> tuple[Row, ...]:
    """The stem is a convolution and a norm, what stands between stages is a norm and a convolution."""
    first = within(stem, "stages.0.downsample.", ("0", "proj"), ("1", "norm"))
    return (*first, *within(later, _DOWN, ("0", "norm"), ("1", "proj")))


_OFFICIAL = ("dwconv", "norm", "pwconv1", "pwconv2", "gamma")
_TIMM = ("conv_dw", "norm", "mlp.fc1", "mlp.fc2", "gamma")
_HUGGINGFACE = ("depthwise_conv", "layer_norm", "pointwise_conv1", "pointwise_conv2", "gamma")

_SIZES = tuple((name, name.removeprefix("dinov3_convnext_")) for name in VARIANTS)

FAMILY = Family(
    name="dinov3_convnext",
    variants=tuple(VARIANTS),
    releases={
        "facebook_dinov3_convnext": Release(
            title="DINOv3 ConvNeXt as its authors released it",
            publisher="facebookresearch/dinov3",
            hub=("dinov3_convnext_tiny_pretrain_lvd1689m-21b726bb.pth",),
            licence=LICENCE,
            trained_on=TRAINED_ON,
            is_it=names_like(r"downsample_layers\.0\.0\.", r"stages\.0\.0\.dwconv\."),
            backbone=(
                *_downsampling("downsample_layers.0.", "downsample_layers.{i}."),
                *_rows("stages.{i}.{j}.", _OFFICIAL, "norm"),
            ),
            ignored=(r"norms\.", r"head\."),  # the last norm once more
        ),
        "timm_dinov3_convnext": Release(
            title="DINOv3 ConvNeXt of timm",
            publisher="huggingface/pytorch-image-models",
            hub=("convnext_tiny.dinov3_lvd1689m",),
            licence=LICENCE,
            trained_on=TRAINED_ON,
            is_it=names_like(r"stem\.0\.", r"stages\.0\.blocks\.0\.conv_dw\."),
            backbone=(*_downsampling("stem.", _DOWN), *_rows(_BLOCK, _TIMM, "head.norm")),
            ignored=(r"head\.fc\.",),
            files=at_hub("timm/convnext_{}.dinov3_lvd1689m", _SIZES, **WEB),
        ),
        "huggingface_dinov3_convnext": Release(
            title="DINOv3 ConvNeXt of transformers",
            publisher="huggingface/transformers",
            hub=("model.safetensors",),
            licence=LICENCE,
            trained_on=TRAINED_ON,
            is_it=names_like(r"stages\.0\.downsample_layers\.0\.", r"stages\.0\.layers\.0\.depthwise_conv\."),
            backbone=(
                *_downsampling("stages.0.downsample_layers.", "stages.{i}.downsample_layers."),
                *_rows("stages.{i}.layers.{j}.", _HUGGINGFACE, "layer_norm"),
            ),
            files=at_hub("facebook/dinov3-convnext-{}-pretrain-lvd1689m", _SIZES, gated=True, **WEB),
        ),
    },
)
