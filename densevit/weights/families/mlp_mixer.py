"""MLP-Mixer."""

from dataclasses import replace

from densevit.backbones.mlp_mixer import VARIANTS
from densevit.weights import flax
from densevit.weights.family import Family, Release, Shapes, image_of, names_like, patch_size, within
from densevit.weights.published import HALF, at_hub

# What has a number for each cell, and the final norm.
_VARYING = r"\.attn\.(fc1\.weight|fc2\.weight|fc2\.bias)$|backbone\.(out_)?norms?\."


def _image_size(shapes: Shapes) -> int | list[int] | None:
    """The image whose cells are mixed at once, where that is a square or a cube of cells."""
    cells = next(shape[1] for name, shape in shapes.items() if name.endswith(".attn.fc1.weight"))
    return image_of(cells, shapes)


_SIZES = (("mixer_base_p16", "b16"), ("mixer_large_p16", "l16"))
_FILES = (
    *at_hub(
        "timm/mixer_{}_224.goog_in21k_ft_in1k",
        _SIZES,
        num_classes=1000,
        trained_on="ImageNet-21k, then ImageNet-1k",
        short="imagenet",
        normalization=HALF,
    ),
    *at_hub("timm/mixer_{}_224.goog_in21k", _SIZES, num_classes=21843, trained_on="ImageNet-21k", normalization=HALF),
)

FAMILY = Family(
    name="mlp_mixer",
    variants=tuple(VARIANTS),
    releases={
        "timm_mixer": Release(
            title="MLP-Mixer of timm, converted from its authors' JAX weights",
            publisher="huggingface/pytorch-image-models, google-research/vision_transformer",
            hub=("mixer_b16_224.goog_in21k_ft_in1k", "mixer_l16_224.goog_in21k_ft_in1k"),
            licence="Apache-2.0",
            trained_on="ImageNet-21k, ImageNet-1k",
            is_it=names_like(r"stem\.proj\.", r"blocks\.0\.mlp_tokens\.fc1\."),
            backbone=(
                ("stem.proj", "stages.0.downsample.proj"),
                *within(
                    "blocks.{k}.",
                    "blocks.{k}.",
                    *("norm1", ("mlp_tokens.fc1", "attn.fc1"), ("mlp_tokens.fc2", "attn.fc2")),
                    *("norm2", ("mlp_channels.fc1", "mlp.fc1"), ("mlp_channels.fc2", "mlp.fc2")),
                ),
                ("norm", "norm"),
            ),
            class_head=(("head", "class_head.fc"),),
            files=_FILES,
        ),
        "google_mixer": replace(
            flax.VIT,
            title="MLP-Mixer of its authors, .npz files of flax",
            hub=("Mixer-B_16.npz", "Mixer-L_16.npz"),
            is_it=names_like("stem/kernel", "MixerBlock_0/token_mixing/"),
            backbone=(
                *flax.layer("stem", "stages.0.downsample.proj"),
                *flax.norm("MixerBlock_{k}/LayerNorm_0", "blocks.{k}.norm1"),
                *flax.mlp("MixerBlock_{k}/token_mixing", "blocks.{k}.attn"),
                *flax.norm("MixerBlock_{k}/LayerNorm_1", "blocks.{k}.norm2"),
                *flax.mlp("MixerBlock_{k}/channel_mixing", "blocks.{k}.mlp"),
                *flax.norm("pre_head_layer_norm", "norm"),
            ),
        ),
    },
    options=dict(patch_size=patch_size, image_size=_image_size),
    varying=_VARYING,
    crop_options=lambda size: dict(image_size=size),
    crop_reason="cells are mixed over the whole crop",
)
