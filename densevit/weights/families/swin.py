"""Swin."""

from densevit.backbones.swin import VARIANTS
from densevit.weights.families.own import HUGGINGFACE_UPER, MMSEG_IGNORED, MMSEG_UPER, huggingface_block
from densevit.weights.family import Family, Pair, Release, Row, names_like, patch_size, window_size, within
from densevit.weights.published import swin as published

TABLE = "relative_position_bias_table!"
VARYING = r"\.relative_position_bias_table$|backbone\.out_norms\."
# What is made again when a model is built.
BUFFERS = (r".*relative_position_index$", r".*attn_mask$")
_BLOCK, _HF_BLOCK = "stages.{i}.blocks.{j}.", "encoder.layers.{i}.blocks.{j}."
_MERGING = ("norm", "reduction")


def block(theirs: str, ours: str, fc1: str, fc2: str, *, attn: str = "attn") -> tuple[Row, ...]:
    """Rows of the blocks whose names begin so, for a release that has the joint projection `qkv`."""
    attention = within(f"{attn}.", "attn.", "qkv", "proj", TABLE)
    return within(theirs, ours, "norm1", *attention, "norm2", (fc1, "mlp.fc1"), (fc2, "mlp.fc2"))


# A classifier norms the last stage's output alone, as a dense model norms each.
_LAST_NORM: tuple[Row, ...] = (("norm", "out_norms.3"),)
_ABSENT = (r"backbone\.out_norms\.",)

_BODY = (
    *within("patch_embed.", "stages.0.downsample.", "proj", "norm"),
    *block("layers.{i}.blocks.{j}.", _BLOCK, "mlp.fc1", "mlp.fc2"),
)
_OFFICIAL = (*_BODY, *within("layers.{i}.downsample.", "stages.{i+1}.downsample.", *_MERGING))
_TIMM = (*_BODY, *within("layers.{i}.downsample.", "stages.{i}.downsample.", *_MERGING), *_LAST_NORM)
_TORCHVISION = (
    ("features.0.0", "stages.0.downsample.proj"),
    ("features.0.2", "stages.0.downsample.norm"),
    *(
        row
        for i in range(4)
        for row in block(f"features.{2 * i + 1}.{{j}}.", f"stages.{i}.blocks.{{j}}.", "mlp.0", "mlp.3")
    ),
    *(row for i in (1, 2, 3) for row in within(f"features.{2 * i}.", f"stages.{i}.downsample.", *_MERGING)),
    *_LAST_NORM,
)
_MMSEG = (
    *within("patch_embed.", "stages.0.downsample.", ("projection", "proj"), "norm"),
    *block(_BLOCK, _BLOCK, "ffn.layers.0.0", "ffn.layers.1", attn="attn.w_msa"),
    *within("stages.{i}.downsample.", "stages.{i+1}.downsample.", *((name, name, "unfolded") for name in _MERGING)),
    ("norm{i}", "out_norms.{i}"),
)
_HUGGINGFACE = (
    *within("embeddings.", "stages.0.downsample.", ("patch_embeddings.projection", "proj"), "norm"),
    *huggingface_block(_HF_BLOCK, _BLOCK, on_hub="self"),
    *huggingface_block(_HF_BLOCK, _BLOCK),
    *(
        (f"{_HF_BLOCK}attention.{place}.{TABLE}", f"{_BLOCK}attn.{TABLE}")
        for place in ("self", "relative_position_bias")
    ),
    *within("encoder.layers.{i}.downsample.", "stages.{i+1}.downsample.", *_MERGING),
)


_WITHOUT_SWIN = ((r"^(backbone\.)?swin\.", ""),)
_MERGES = r"(backbone\.)?layers\.0\.downsample\.reduction\."

FAMILY = Family(
    name="swin",
    variants=tuple(VARIANTS),
    # The first that recognises a file is its source: the names of some begin like those of others further down.
    releases={
        "microsoft_swin_upernet": Release(
            title="Swin with UPerNet as its authors released it",
            publisher="SwinTransformer/Swin-Transformer-Semantic-Segmentation",
            hub=("upernet_swin_tiny_patch4_window7_512x512.pth",),
            licence="Apache-2.0",
            trained_on="ADE20K",
            is_it=names_like(_MERGES, r"(backbone\.)?norm0\."),
            prefix="backbone.",
            backbone=(*_OFFICIAL, ("norm{i}", "out_norms.{i}")),
            decoder=MMSEG_UPER,
            ignored=(*BUFFERS, *MMSEG_IGNORED),
            files=published.MICROSOFT_UPERNET,
        ),
        "microsoft_swin": Release(
            title="Swin classifier as its authors released it",
            publisher="microsoft/Swin-Transformer",
            hub=("swin_tiny_patch4_window7_224.pth",),
            licence="MIT",
            trained_on="ImageNet-1k or ImageNet-22k",
            is_it=names_like(_MERGES),
            backbone=(*_OFFICIAL, *_LAST_NORM),
            class_head=(("head", "class_head.fc"),),
            ignored=BUFFERS,
            absent=_ABSENT,
            files=published.MICROSOFT,
        ),
        "timm_swin": Release(
            title="Swin of timm",
            publisher="huggingface/pytorch-image-models",
            is_it=names_like(r"layers[._]1\.downsample\.reduction\."),
            backbone=_TIMM,
            class_head=(("head.fc", "class_head.fc"),),
            ignored=BUFFERS,
            cleanups=((r"^layers_(\d)", r"layers.\1"),),
            absent=_ABSENT,
            files=published.TIMM,
        ),
        "torchvision_swin": Release(
            title="Swin classifier of torchvision",
            publisher="pytorch/vision",
            hub=("swin_t",),
            is_it=names_like(r"features\.1\.0\.attn\.qkv\."),
            backbone=_TORCHVISION,
            class_head=(("head", "class_head.fc"),),
            ignored=BUFFERS,
            absent=_ABSENT,
            files=published.TORCHVISION,
        ),
        "huggingface_swin_backbone": Release(
            title="Swin of transformers with a norm for each stage, whole with UPerNet or the backbone",
            publisher="huggingface/transformers",
            hub=("model.safetensors",),
            is_it=names_like(r"(backbone\.)?hidden_states_norms\.stage1\."),
            prefix="backbone.",
            backbone=(*_HUGGINGFACE, ("hidden_states_norms.stage{i+1}", "out_norms.{i}")),
            decoder=HUGGINGFACE_UPER,
            ignored=(*BUFFERS, r"layernorm\.", r"auxiliary_head\."),
            cleanups=_WITHOUT_SWIN,
            files=published.HUGGINGFACE_UPERNET,
        ),
        "huggingface_swin": Release(
            title="Swin classifier of transformers",
            publisher="huggingface/transformers",
            hub=("model.safetensors", "pytorch_model.bin"),
            is_it=names_like(r"(swin\.)?encoder\.layers\.0\.blocks\.0\.attention\."),
            backbone=(*_HUGGINGFACE, ("layernorm", "out_norms.3")),
            class_head=(("classifier", "class_head.fc"),),
            ignored=BUFFERS,
            cleanups=_WITHOUT_SWIN,
            absent=_ABSENT,
            files=published.HUGGINGFACE,
        ),
        "mmseg_swin": Release(
            title="Swin of mmsegmentation 1.x, whole with UPerNet or the backbone",
            publisher="open-mmlab/mmsegmentation",
            licence="Apache-2.0",
            trained_on="ADE20K",
            is_it=names_like(r"(backbone\.)?stages\.0\.blocks\.0\.attn\.w_msa\."),
            prefix="backbone.",
            backbone=_MMSEG,
            decoder=MMSEG_UPER,
            ignored=(*BUFFERS, *MMSEG_IGNORED, r"head\."),
            absent=_ABSENT,
            files=published.MMSEG,
        ),
    },
    options=dict(patch_size=patch_size, window_size=window_size),
    varying=VARYING,
    pairs=tuple(Pair(name, "uper", 150) for name in VARIANTS),
    classifier=dict(small_maps="no_shift"),
    mmseg={"Swin": "swin"},
    crop_options=lambda crop: dict(window_size=4) if min(crop) < 64 else {},
    crop_reason="the coarse maps of a small crop hold few windows of 7",
)
