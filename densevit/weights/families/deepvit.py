"""DeepViT. No other package has it: the names are those of the authors' code."""

from densevit.backbones.deepvit import PATCH, VARIANTS
from densevit.weights.families.unetr import ABSENT, POSITION, VARYING
from densevit.weights.family import Family, Release, Row, image_size_on, names_like, num_tokens, within

_STEM, _BLOCK = "stages.0.downsample.", "blocks.{k}."
_MIXING: tuple[Row, ...] = (
    ("attn.reatten_matrix", "attn.attend.reatten_matrix", "pointwise"),
    ("attn.var_norm", "attn.attend.var_norm"),
)
_COMMON = (
    ("cls_token!", f"{POSITION}tokens.cls_token!"),
    ("pos_embed!", f"{POSITION}pos_embed!"),
    *within(_BLOCK, _BLOCK, "norm1", "attn.qkv", *_MIXING, "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"),
    ("norm", "norm"),
)
_CONVOLUTIONS = within(
    "patch_embed.",
    _STEM,
    *(("conv1", "proj"), ("bn1", "norm1"), ("conv2", "conv"), ("bn2", "norm2"), ("proj", "patches.proj")),
)
_WITH_STEM = tuple(name for name, options in VARIANTS.items() if "conv_stem" in options)


def _release(title: str, patches: tuple[Row, ...], *mark: str, variants: tuple[str, ...]) -> Release:
    return Release(
        title=title,
        publisher="zhoudaquan/dvit_repo",
        licence="MIT",
        trained_on="ImageNet-1k",
        variants=variants,
        is_it=names_like(r"blocks\.\d+\.attn\.reatten_matrix\.", *mark),
        backbone=(*patches, *_COMMON),
        class_head=(("head", "class_head.fc"),),
        absent=ABSENT,
    )


FAMILY = Family(
    name="deepvit",
    variants=tuple(VARIANTS),
    releases={
        "zhoudaquan_stem_deepvit": _release(
            "DeepViT-S and L of its authors, with a stem of convolutions",
            _CONVOLUTIONS,
            r"patch_embed\.conv1\.",
            variants=_WITH_STEM,
        ),
        "zhoudaquan_deepvit": _release(
            "DeepViT of its authors",
            (("patch_embed.proj", f"{_STEM}proj"),),
            variants=tuple(name for name in VARIANTS if name not in _WITH_STEM),
        ),
    },
    options=dict(image_size=image_size_on(PATCH), num_tokens=num_tokens),
    varying=VARYING,
    classifier=dict(num_tokens=1),
)
