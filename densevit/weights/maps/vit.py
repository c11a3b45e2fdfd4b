"""Key maps of the plain ViT.

A class token, a distillation token and a final norm may be in a file or a model, or not. Position tables have the
tokens' rows first, in every release and here.
"""

from collections.abc import Callable, Collection
from re import match

from densevit.weights.maps.monai import UNETR_DECODER, UNETR_UNUSED
from densevit.weights.maps.source import Shapes, Source, names_like

_CLASS_TOKEN = "stages.0.downsample.position.tokens.cls_token!"
_DISTILLATION_TOKEN = "stages.0.downsample.position.tokens.dist_token!"
_POSITIONS = "stages.0.downsample.position.pos_embed!"
_PATCHES = "stages.0.downsample.proj"

TIMM_BACKBONE = (
    ("cls_token!", _CLASS_TOKEN),
    ("dist_token!", _DISTILLATION_TOKEN),
    ("pos_embed!", _POSITIONS),
    ("patch_embed.proj", _PATCHES),
    ("blocks.{k}.norm1", "blocks.{k}.norm1"),
    ("blocks.{k}.attn.qkv", "blocks.{k}.attn.qkv"),
    ("blocks.{k}.attn.proj", "blocks.{k}.attn.proj"),
    ("blocks.{k}.norm2", "blocks.{k}.norm2"),
    ("blocks.{k}.mlp.fc1", "blocks.{k}.mlp.fc1"),
    ("blocks.{k}.mlp.fc2", "blocks.{k}.mlp.fc2"),
    ("norm", "norm"),
)

HUGGINGFACE_BACKBONE = (
    ("embeddings.cls_token!", _CLASS_TOKEN),
    ("embeddings.distillation_token!", _DISTILLATION_TOKEN),
    ("embeddings.position_embeddings!", _POSITIONS),
    ("embeddings.patch_embeddings.projection", _PATCHES),
    # Names of the files on the hub, which version 5 of transformers still writes.
    ("encoder.layer.{k}.layernorm_before", "blocks.{k}.norm1"),
    (
        (
            "encoder.layer.{k}.attention.attention.query",
            "encoder.layer.{k}.attention.attention.key",
            "encoder.layer.{k}.attention.attention.value",
        ),
        "blocks.{k}.attn.qkv",
        "join_qkv",
    ),
    ("encoder.layer.{k}.attention.output.dense", "blocks.{k}.attn.proj"),
    ("encoder.layer.{k}.layernorm_after", "blocks.{k}.norm2"),
    ("encoder.layer.{k}.intermediate.dense", "blocks.{k}.mlp.fc1"),
    ("encoder.layer.{k}.output.dense", "blocks.{k}.mlp.fc2"),
    ("layernorm", "norm"),
    # Names of the modules in version 5.
    ("layers.{k}.layernorm_before", "blocks.{k}.norm1"),
    (
        ("layers.{k}.attention.q_proj", "layers.{k}.attention.k_proj", "layers.{k}.attention.v_proj"),
        "blocks.{k}.attn.qkv",
        "join_qkv",
    ),
    ("layers.{k}.attention.o_proj", "blocks.{k}.attn.proj"),
    ("layers.{k}.layernorm_after", "blocks.{k}.norm2"),
    ("layers.{k}.mlp.fc1", "blocks.{k}.mlp.fc1"),
    ("layers.{k}.mlp.fc2", "blocks.{k}.mlp.fc2"),
)

MMSEG_BACKBONE = (
    ("cls_token!", _CLASS_TOKEN),
    ("pos_embed!", _POSITIONS),
    ("patch_embed.projection", _PATCHES),
    ("layers.{k}.ln1", "blocks.{k}.norm1"),
    ("layers.{k}.attn.attn.in_proj_{p}", "blocks.{k}.attn.qkv"),
    ("layers.{k}.attn.attn.out_proj", "blocks.{k}.attn.proj"),
    ("layers.{k}.ln2", "blocks.{k}.norm2"),
    ("layers.{k}.ffn.layers.0.0", "blocks.{k}.mlp.fc1"),
    ("layers.{k}.ffn.layers.1", "blocks.{k}.mlp.fc2"),
    ("ln1", "norm"),
)

MONAI_BACKBONE = (
    ("patch_embedding.position_embeddings!", _POSITIONS),
    # "perceptron", the default of UNETR, then "conv".
    ("patch_embedding.patch_embeddings.1", _PATCHES, "perceptron"),
    ("patch_embedding.patch_embeddings", _PATCHES),
    ("blocks.{k}.norm1", "blocks.{k}.norm1"),
    ("blocks.{k}.attn.qkv", "blocks.{k}.attn.qkv"),
    ("blocks.{k}.attn.out_proj", "blocks.{k}.attn.proj"),
    ("blocks.{k}.norm2", "blocks.{k}.norm2"),
    ("blocks.{k}.mlp.linear1", "blocks.{k}.mlp.fc1"),
    ("blocks.{k}.mlp.linear2", "blocks.{k}.mlp.fc2"),
    ("norm", "norm"),
)
# Tensors that MONAI's classes make, in one version or another, and never use.
MONAI_UNUSED = (r"patch_embedding\.cls_token$", r"blocks\.\d+\.(norm_cross_attn|cross_attn)\.")

# A model without the tokens or the norm leaves them out; one that has a norm must find it.
ABSENT = (r"backbone\.stages\.0\.downsample\.position\.tokens\.", r"backbone\.norm\.")


def has_plain_blocks(block: str, *, modules: Collection[str]) -> Callable[[Shapes], bool]:
    """True where these modules, and no others, are in the first block, whose names begin with the pattern `block`.

    Many families have the names of ViT and something beside.
    """

    def is_it(shapes: Shapes) -> bool:
        found = [name[m.end() :] for name in shapes if (m := match(block, name))]
        return {name.rpartition(".")[0] for name in found} == set(modules)

    return is_it


_HUGGINGFACE_MODULES = (
    ("attention.attention.query", "attention.attention.key", "attention.attention.value", "attention.output.dense"),
    ("attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj"),
)


def _is_huggingface(shapes: Shapes) -> bool:
    hub, version_5 = _HUGGINGFACE_MODULES
    norms = ("layernorm_before", "layernorm_after")
    hub_names = has_plain_blocks(
        r"((vit|deit)\.)?encoder\.layer\.0\.", modules=(*hub, *norms, "intermediate.dense", "output.dense")
    )
    names = has_plain_blocks(r"((vit|deit)\.)?layers\.0\.", modules=(*version_5, *norms, "mlp.fc1", "mlp.fc2"))
    patches = names_like(r"((vit|deit)\.)?embeddings\.patch_embeddings\.projection\.")
    return patches(shapes) and (hub_names(shapes) or names(shapes))


# Searched in this order when the source is to be guessed.
SOURCES = {
    "timm_vit": Source(
        title="ViT of timm, of DeiT's authors and of DINO's (deit_small_patch16_224.pth)",
        family="vit",
        is_it=has_plain_blocks(
            r"blocks\.0\.", modules=("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
        ),
        backbone=TIMM_BACKBONE,
        ignored=(r"head\.", r"head_dist\.", r"fc_norm\.", r"pre_logits\."),
        absent=ABSENT,
    ),
    "huggingface_vit": Source(
        title="ViT and DeiT of transformers (model.safetensors, pytorch_model.bin)",
        family="vit",
        is_it=_is_huggingface,
        prefix="vit.",
        backbone=HUGGINGFACE_BACKBONE,
        ignored=(r"(cls_|distillation_)?classifier\.", r"pooler\.", r"embeddings\.mask_token$"),
        cleanups=((r"^deit\.", "vit."),),
        absent=ABSENT,
    ),
    "mmseg_vit": Source(
        title="ViT of mmsegmentation 1.x, the backbone",
        family="vit",
        is_it=names_like(r"(backbone\.)?layers\.0\.ln1\."),
        prefix="backbone.",
        backbone=MMSEG_BACKBONE,
        ignored=(r"neck\.", r"decode_head\.", r"auxiliary_head\.", r"data_preprocessor\.", r"head\."),
        absent=(*ABSENT, r"backbone\.stages\.0\.downsample\.proj\.bias"),  # models of 1.x have none by default
    ),
    "monai_vit": Source(
        title="UNETR of MONAI and of its authors, whole, or MONAI's ViT (UNETR_model_best_acc.pth)",
        family="vit",
        is_it=names_like(r"(vit\.)?patch_embedding\.position_embeddings$"),
        prefix="vit.",
        backbone=MONAI_BACKBONE,
        decoder=UNETR_DECODER,
        ignored=(*MONAI_UNUSED, *UNETR_UNUSED),
        absent=ABSENT,
    ),
}
