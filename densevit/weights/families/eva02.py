"""EVA-02."""

from densevit.backbones.eva02 import VARIANTS
from densevit.weights.families import unetr
from densevit.weights.families.dinov2 import BLOCK, PATCHES
from densevit.weights.families.unetr import POSITION
from densevit.weights.family import Family, Release, Row, image_size, names_like, patch_size, within
from densevit.weights.published import CLIP, PublishedFile, at_hub

_EDGES = (
    ("cls_token!", f"{POSITION}tokens.cls_token!"),
    ("pos_embed!", f"{POSITION}pos_embed!"),
    ("patch_embed.proj", PATCHES),
    *within(BLOCK, BLOCK, "norm1", "attn.proj", "norm2"),
    ("norm", "norm"),
)
_SEPARATE = tuple(f"attn.{name}_proj.weight!" for name in "qkv")
_CLASS_HEAD: tuple[Row, ...] = (("fc_norm", "class_head.pool_norm"), ("head", "class_head.fc"))
_LARGER = tuple(name for name, options in VARIANTS.items() if "sub_norm" in options)
_SMALLER = tuple(name for name in VARIANTS if name not in _LARGER)


def _rows(*, larger: bool, biases: tuple[str, str], ffn: tuple[Row, ...]) -> tuple[Row, ...]:
    """The larger ones have a matrix each for queries, keys and values."""
    weights: Row = (_SEPARATE, "attn.qkv.weight!", "join_qkv") if larger else ("attn.qkv.weight!", "attn.qkv.weight!")
    joined: Row = (tuple(f"attn.{name}!" for name in biases), "attn.qv_bias!", "join")
    return (*_EDGES, *within(BLOCK, BLOCK, weights, joined, *ffn))


def _official(*, larger: bool) -> Release:
    larger_ffn = ((("mlp.w1", "mlp.w2"), "mlp.w12", "join"), ("mlp.ffn_ln", "mlp.norm"), "mlp.w3")
    ffn = larger_ffn if larger else ("mlp.w12", "mlp.w3")
    first = "attn.q_proj", "mlp.w1"
    return Release(
        title=f"EVA-02 {'base and large' if larger else 'tiny and small'} as its authors released them",
        publisher="baaivision/EVA",
        hub=("eva02_B_pt_in21k_p14.pt",) if larger else ("eva02_Ti_pt_in21k_p14.pt",),
        licence="MIT",
        trained_on="ImageNet-21k or Merged-38M; classifiers: ImageNet-1k",
        variants=_LARGER if larger else _SMALLER,
        is_it=names_like(*(rf"blocks\.0\.{n}\." for n in (first if larger else ("attn.qkv", "mlp.w12"))), "pos_embed"),
        backbone=_rows(larger=larger, biases=("q_bias", "v_bias"), ffn=ffn),
        class_head=_CLASS_HEAD,
        ignored=(r"mask_token$", r"lm_head\.", r"rope\.", r"blocks\.\d+\.attn\.rope\."),
        absent=(r"backbone\.out_norms\.",),
    )


def _timm(*, larger: bool) -> Release:
    larger_ffn = ((("mlp.fc1_g", "mlp.fc1_x"), "mlp.w12", "join"), "mlp.norm", ("mlp.fc2", "mlp.w3"))
    ffn = larger_ffn if larger else (("mlp.fc1", "mlp.w12"), ("mlp.fc2", "mlp.w3"))
    first = r"blocks\.0\.mlp\.fc1_g\." if larger else r"blocks\.0\.mlp\.fc1\."
    biases = ("q_proj.bias", "v_proj.bias") if larger else ("q_bias", "v_bias")
    return Release(
        title=f"EVA-02 {'base and large' if larger else 'tiny and small'} of timm",
        publisher="huggingface/pytorch-image-models",
        hub=("eva02_base_patch14_224",) if larger else ("eva02_tiny_patch14_224",),
        licence="MIT",
        variants=_LARGER if larger else _SMALLER,
        is_it=names_like(first, rf"blocks\.0\.attn\.{biases[0]}", "pos_embed"),
        backbone=_rows(
            larger=larger, biases=("q_proj.bias", "v_proj.bias") if larger else ("q_bias", "v_bias"), ffn=ffn
        ),
        class_head=_CLASS_HEAD,
        absent=(r"backbone\.out_norms\.",),
        files=_files(larger=larger),
    )


def _files(*, larger: bool) -> tuple[PublishedFile, ...]:
    """Those of timm."""
    rows = [
        *(((size, 224, "mim_in22k"), "ImageNet-22k", None) for size in ("tiny", "small", "base", "large")),
        *(((size, 336, "mim_in22k_ft_in1k"), "ImageNet-22k, then ImageNet-1k", 1000) for size in ("tiny", "small")),
        *(((size, 448, "mim_in22k_ft_in1k"), "ImageNet-22k, then ImageNet-1k", 1000) for size in ("base", "large")),
        (("large", 224, "mim_m38m"), "Merged-38M", None),
        (("large", 448, "mim_m38m_ft_in1k"), "Merged-38M, then ImageNet-1k", 1000),
    ]
    found: list[PublishedFile] = []
    for words, data, classes in rows:
        if (f"eva02_{words[0]}" in _LARGER) is larger:
            found += at_hub(
                "timm/eva02_{}_patch14_{}.{}",
                [(f"eva02_{words[0]}", words)],
                trained_on=data,
                num_classes=classes,
                options=dict(image_size=words[1]) if words[1] > 224 else {},
                normalization=CLIP,
                short="imagenet" if words[2] == "mim_in22k_ft_in1k" else None,
            )
    return tuple(found)


FAMILY = Family(
    name="eva02",
    variants=tuple(VARIANTS),
    releases={
        "baai_eva02": _official(larger=False),
        "baai_eva02_large": _official(larger=True),
        "timm_eva02": _timm(larger=False),
        "timm_eva02_large": _timm(larger=True),
    },
    options=dict(patch_size=patch_size, image_size=image_size),
    varying=rf"{unetr.VARYING}|\.rope\.rates$",
    crop_options=unetr.FAMILY.crop_options,
    crop_reason=unetr.FAMILY.crop_reason,
)
