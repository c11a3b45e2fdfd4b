"""The plain ViT, and DeiT.

A class token, a distillation token and a final norm may be in a file or a model, or not. Position tables have the
tokens' rows first, in every release and here.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from re import match

from torch import nn

from densevit.backbones.vit import VARIANTS
from densevit.blocks.position import LearnedPositions, SinCosPositions
from densevit.weights import flax
from densevit.weights.families import unetr
from densevit.weights.families.own import huggingface_block
from densevit.weights.families.unetr import ABSENT, POSITION
from densevit.weights.family import Family, Release, Row, Shapes, names_like, within
from densevit.weights.published import vit as published

_BLOCK, _PATCHES = "blocks.{k}.", "stages.0.downsample.proj"
_CLASS_TOKEN, _POSITIONS = f"{POSITION}tokens.cls_token!", f"{POSITION}pos_embed!"
_DISTILLATION_TOKEN = f"{POSITION}tokens.dist_token!"
_NAMES = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")

_TIMM = (
    ("cls_token!", _CLASS_TOKEN),
    ("dist_token!", _DISTILLATION_TOKEN),
    ("pos_embed!", _POSITIONS),
    ("patch_embed.proj", _PATCHES),
    *within(_BLOCK, _BLOCK, *_NAMES),
    ("norm", "norm"),
)

_MAP_HEAD = (  # big_vision's attention pooling, as timm has it
    ("attn_pool.latent!", "class_head.probe!"),
    *within("attn_pool.", "class_head.", "q", "kv", "proj", ("norm", "norm_mlp"), "mlp.fc1", "mlp.fc2"),
)
_HUGGINGFACE = (
    ("embeddings.cls_token!", _CLASS_TOKEN),
    ("embeddings.distillation_token!", _DISTILLATION_TOKEN),
    ("embeddings.position_embeddings!", _POSITIONS),
    ("embeddings.patch_embeddings.projection", _PATCHES),
    *huggingface_block("encoder.layer.{k}.", _BLOCK, on_hub="attention"),
    *huggingface_block("layers.{k}.", _BLOCK),
    ("layernorm", "norm"),
)

_MMSEG = (
    ("cls_token!", _CLASS_TOKEN),
    ("pos_embed!", _POSITIONS),
    ("patch_embed.projection", _PATCHES),
    *within(
        "layers.{k}.",
        _BLOCK,
        ("ln1", "norm1"),
        ("attn.attn.in_proj_{p}", "attn.qkv"),
        ("attn.attn.out_proj", "attn.proj"),
        ("ln2", "norm2"),
        ("ffn.layers.0.0", "mlp.fc1"),
        ("ffn.layers.1", "mlp.fc2"),
    ),
    ("ln1", "norm"),
)


def has_plain_blocks(block: str, *, modules: Collection[str]) -> Callable[[Shapes], bool]:
    """True where these modules, and no others, are in the first block, whose names begin with the pattern `block`.

    Many families have the names of ViT and something beside.
    """

    def is_it(shapes: Shapes) -> bool:
        found = [name[m.end() :] for name in shapes if (m := match(block, name))]
        return {name.rpartition(".")[0] for name in found} == set(modules)

    return is_it


def _is_google(shapes: Shapes) -> bool:
    plain = flax.named("embedding/kernel", "Transformer/encoderblock_0/LayerNorm_2/")
    return plain(shapes) and not flax.named("conv_root/")(shapes)


def _is_big_vision(*, images: str = "", table: bool = True) -> Callable[[Shapes], bool]:
    """Whether they are of a ViT of big_vision, whose names begin so, with a table of positions or without one."""
    prefix = f"(params/)?{images}"
    blocks = names_like(rf"{prefix}embedding/kernel$", rf"{prefix}Transformer/encoderblock_0/LayerNorm_1/")
    tables = names_like(rf"{prefix}pos_embedding$")
    return lambda shapes: blocks(shapes) and tables(shapes) == table


def _is_huggingface(shapes: Shapes) -> bool:
    hub, version_5 = huggingface_block("", "", on_hub="attention"), huggingface_block("", "")
    on_hub = has_plain_blocks(r"((vit|deit)\.)?encoder\.layer\.0\.", modules=_modules(hub))
    in_version_5 = has_plain_blocks(r"((vit|deit)\.)?layers\.0\.", modules=_modules(version_5))
    patches = names_like(r"((vit|deit)\.)?embeddings\.patch_embeddings\.projection\.")
    return patches(shapes) and (on_hub(shapes) or in_version_5(shapes))


def _is_distilled(shapes: Shapes) -> bool:
    return names_like(r"(deit\.)?embeddings\.distillation_token$")(shapes) and _is_huggingface(shapes)


def _modules(rows: Collection[Row]) -> list[str]:
    return [name for row in rows for name in ([row[0]] if isinstance(row[0], str) else row[0])]


def _resizing(modules: Collection[nn.Module]) -> str | None:
    """How a model's table of positions is resized; None without one."""
    return next((module.resizing for module in modules if isinstance(module, LearnedPositions)), None)


def _position(modules: Collection[nn.Module]) -> str | None:
    """The kind of a model's positions."""
    kinds = (module.kind for module in modules if isinstance(module, LearnedPositions | SinCosPositions))
    return next(kinds, None)


def _lacks_a_head(shapes: Shapes) -> bool:
    return "cls_token" in shapes and "head.weight" not in shapes


def _is_whole_dino(shapes: Shapes) -> bool:
    plain = has_plain_blocks(r"backbone\.blocks\.0\.", modules=_NAMES)  # XCiT of the same authors has others
    return plain(shapes) and names_like(r"head\.last_layer\.")(shapes)


_CLASSIFIER = Release(
    title="ViT of timm and of DeiT's authors",
    publisher="huggingface/pytorch-image-models, facebookresearch/deit",
    hub=("deit_small_patch16_224.pth",),
    files=published.TIMM,
    is_it=has_plain_blocks(r"blocks\.0\.", modules=_NAMES),
    backbone=_TIMM,
    class_head=(("head", "class_head.fc"), ("head_dist", "class_head.fc_dist"), *_MAP_HEAD),
    ignored=(r"fc_norm\.", r"pre_logits\.", r"head\."),
    absent=ABSENT,
    remarks_if=(
        (
            _lacks_a_head,
            "weights of DINO's authors look the same; for other images than those of the table they need "
            "source='dino_vit' and resizing='dino' in the backbone",
        ),
    ),
)

_TRANSFORMERS = Release(
    title="ViT and DeiT of transformers",
    publisher="huggingface/transformers",
    hub=("model.safetensors", "pytorch_model.bin"),
    files=published.HUGGINGFACE,
    is_it=_is_huggingface,
    prefix="vit.",
    backbone=_HUGGINGFACE,
    class_head=(("classifier", "class_head.fc"),),
    ignored=(r"pooler\.", r"embeddings\.mask_token$"),
    cleanups=((r"^deit\.", "vit."),),
    absent=ABSENT,
)

FAMILY = Family(
    name="vit",
    variants=tuple(name for name in VARIANTS if name not in unetr.FAMILY.variants),
    releases={
        "dino_vit": replace(
            _CLASSIFIER,
            title="ViT of DINO's authors, the teacher of a whole checkpoint or the backbone alone",
            publisher="facebookresearch/dino",
            hub=("dino_deitsmall16_pretrain.pth",),
            licence="Apache-2.0",
            trained_on="ImageNet",
            is_it=_is_whole_dino,
            prefix="backbone.",
            remarks_if=(),
            options=dict(resizing="dino"),
            files=published.DINO,
        ),
        "timm_vit": _CLASSIFIER,
        "huggingface_deit": replace(
            _TRANSFORMERS,
            title="distilled DeiT of transformers",
            is_it=_is_distilled,
            files=published.HUGGINGFACE_DISTILLED,
            prefix="deit.",
            class_head=(
                ("cls_classifier", "class_head.fc"),
                ("distillation_classifier", "class_head.fc_dist"),
                ("classifier", "class_head.fc"),  # of a model without the teacher's
            ),
            cleanups=(),
        ),
        "huggingface_vit": _TRANSFORMERS,
        "google_vit": replace(
            flax.VIT,
            title="ViT of its authors, .npz files of flax",
            hub=("ViT-B_16.npz", "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0.npz"),
            is_it=_is_google,
            backbone=flax.transformer("stages.0.downsample."),
            absent=ABSENT,
        ),
        "bigvision_siglip": flax.of_big_vision(
            title="image encoder of SigLIP and of PaliGemma in big_vision, .npz files of flax",
            hub=("webli_en_b16_224_63724782.npz",),
            trained_on="WebLI",
            is_it=_is_big_vision(images="img/"),
            ignored=(*flax.VIT.ignored, r"txt/", r"llm/", r"[tb]$"),
            absent=(*ABSENT, r"class_head\.fc\."),
        ),
        "bigvision_vit": flax.of_big_vision(
            title="ViT of big_vision, .npz files of flax",
            hub=("flexivit_b_i1k.npz",),
            is_it=_is_big_vision(),
            absent=ABSENT,
        ),
        "bigvision_sincos_vit": flax.of_big_vision(
            title="ViT of big_vision with fixed positions, .npz files of flax",
            trained_on="ImageNet-1k",
            is_it=_is_big_vision(table=False),
            absent=ABSENT,
            options=dict(position="big_vision_sincos"),
        ),
        "mmseg_vit": Release(
            title="ViT of mmsegmentation 1.x, the backbone",
            publisher="open-mmlab/mmsegmentation",
            licence="Apache-2.0",
            trained_on="ADE20K",
            is_it=names_like(r"(backbone\.)?layers\.0\.ln1\."),
            prefix="backbone.",
            backbone=_MMSEG,
            ignored=(r"neck\.", r"decode_head\.", r"auxiliary_head\.", r"data_preprocessor\.", r"head\."),
            absent=(*ABSENT, r"backbone\.stages\.0\.downsample\.proj\.bias"),  # models of 1.x have none by default
        ),
        "monai_vit": unetr.MONAI,
    },
    options=unetr.OPTIONS,
    varying=unetr.VARYING,
    rules=dict(resizing=_resizing, position=_position),
    classifier=dict(num_tokens=1),
    mmseg={"ViT": "vit"},
    crop_options=unetr.FAMILY.crop_options,
    crop_reason=unetr.FAMILY.crop_reason,
)
