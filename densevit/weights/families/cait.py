"""CaiT. Its authors' files and timm's have the same names."""

from densevit.backbones.cait import VARIANTS
from densevit.weights.family import Family, Release, image_size, names_like, patch_size, within

_POSITION = "stages.0.downsample.position."
_BLOCK, _CLASS_BLOCK = "blocks.{k}.", "class_head.class_blocks.{j}."
_SCALES = (("gamma_1!", "ls1.gamma!"), ("gamma_2!", "ls2.gamma!"))
_COMMON = ("norm1", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2", *_SCALES)
_MIXING = (("attn.proj_l", "attn.attend.proj_l"), ("attn.proj_w", "attn.attend.proj_w"))

FAMILY = Family(
    name="cait",
    variants=tuple(VARIANTS),
    releases={
        "facebook_cait": Release(
            title="CaiT of its authors and of timm",
            publisher="facebookresearch/deit, huggingface/pytorch-image-models",
            hub=("XXS24_224.pth", "S24_384.pth", "cait_xxs24_224"),
            licence="Apache-2.0",
            trained_on="ImageNet-1k",
            is_it=names_like(r"blocks\.0\.attn\.proj_l\."),
            backbone=(
                ("pos_embed!", f"{_POSITION}pos_embed!"),
                ("patch_embed.proj", "stages.0.downsample.proj"),
                *within(_BLOCK, _BLOCK, "attn.qkv", *_MIXING, *_COMMON),
            ),
            class_head=(
                ("cls_token!", "class_head.cls_token!"),
                *within(
                    "blocks_token_only.{j}.",
                    _CLASS_BLOCK,
                    *("attn.q", (("attn.k", "attn.v"), "attn.kv", "join")),
                    *_COMMON,
                ),
                ("norm", "class_head.norm_head"),
                ("head", "class_head.fc"),
            ),
        )
    },
    options=dict(patch_size=patch_size, image_size=image_size),
    varying=r"\.pos_embed$",
)
