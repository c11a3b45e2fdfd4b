"""CaiT. Its authors' files and timm's have the same names."""

from densevit.backbones.cait import VARIANTS
from densevit.weights.family import Family, Release, image_size, names_like, patch_size, within
from densevit.weights.published import at_hub

_POSITION = "stages.0.downsample.position."
_BLOCK, _CLASS_BLOCK = "blocks.{k}.", "class_head.class_blocks.{j}."
_SCALES = (("gamma_1!", "ls1.gamma!"), ("gamma_2!", "ls2.gamma!"))
_COMMON = ("norm1", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2", *_SCALES)
_MIXING = (("attn.proj_l", "attn.attend.proj_l"), ("attn.proj_w", "attn.attend.proj_w"))

_AT_224 = dict(xxs24=78.4, xxs36=79.7, s24=83.5)  # % on ImageNet, of the paper
_AT_384 = dict(xxs24=80.9, xxs36=82.2, xs24=84.1, s24=85.1, s36=85.4, m36=86.1)
_FILES = tuple(
    file
    for side, tops in ((224, _AT_224), (384, _AT_384), (448, dict(m48=86.5)))
    for size, top in tops.items()
    for file in at_hub(
        f"timm/cait_{{}}_{side}.fb_dist_in1k",
        [(f"cait_{size}", size, top)],
        num_classes=1000,
        trained_on="ImageNet-1k",
        score="{} % top-1 on ImageNet",
        options=dict(image_size=side) if side > 224 else {},
        short=None if side > 224 and size in _AT_224 else "imagenet",
    )
)

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
            files=_FILES,
        )
    },
    options=dict(patch_size=patch_size, image_size=image_size),
    varying=r"\.pos_embed$",
)
