"""Key maps of Swin and of Swin UNETR."""

from densevit.weights.maps.heads import HUGGINGFACE_UPER, IGNORED, MMSEG_UPER
from densevit.weights.maps.monai import SWIN_UNETR_DECODER
from densevit.weights.maps.source import Row, Source, names_like

_TABLE = "relative_position_bias_table!"
# What is made again when a model is built.
_BUFFERS = (r".*relative_position_index$", r".*attn_mask$")


def _blocks(theirs: str, ours: str, fc1: str, fc2: str, *, attn: str = "attn") -> tuple[Row, ...]:
    """Rows of the blocks whose names begin so, for a release that has the joint projection `qkv`."""
    names = {"norm1": "norm1", f"{attn}.qkv": "attn.qkv", f"{attn}.proj": "attn.proj", "norm2": "norm2"}
    names |= {f"{attn}.{_TABLE}": f"attn.{_TABLE}", fc1: "mlp.fc1", fc2: "mlp.fc2"}
    return tuple((f"{theirs}.{name}", f"{ours}.{own}") for name, own in names.items())


def _mergings(theirs: str, ours: str, *operation: str) -> tuple[Row, ...]:
    return tuple((f"{theirs}.{name}", f"{ours}.{name}", *operation) for name in ("norm", "reduction"))


_EMBEDDING: tuple[Row, ...] = (
    ("patch_embed.proj", "stages.0.downsample.proj"),
    ("patch_embed.norm", "stages.0.downsample.norm"),
)
# A classifier norms the last stage's output alone, as a dense model norms each.
_LAST_NORM: tuple[Row, ...] = (("norm", "out_norms.3"),)
_ABSENT = (r"backbone\.out_norms\.",)

_BODY = (*_EMBEDDING, *_blocks("layers.{i}.blocks.{j}", "stages.{i}.blocks.{j}", "mlp.fc1", "mlp.fc2"))
_OFFICIAL = (*_BODY, *_mergings("layers.{i}.downsample", "stages.{i+1}.downsample"))
_TIMM = (*_BODY, *_mergings("layers.{i}.downsample", "stages.{i}.downsample"), *_LAST_NORM)
_TORCHVISION = (
    ("features.0.0", "stages.0.downsample.proj"),
    ("features.0.2", "stages.0.downsample.norm"),
    *(
        row
        for i in range(4)
        for row in _blocks(f"features.{2 * i + 1}.{{j}}", f"stages.{i}.blocks.{{j}}", "mlp.0", "mlp.3")
    ),
    *(row for i in (1, 2, 3) for row in _mergings(f"features.{2 * i}", f"stages.{i}.downsample")),
    *_LAST_NORM,
)
_MMSEG = (
    ("patch_embed.projection", "stages.0.downsample.proj"),
    ("patch_embed.norm", "stages.0.downsample.norm"),
    *_blocks("stages.{i}.blocks.{j}", "stages.{i}.blocks.{j}", "ffn.layers.0.0", "ffn.layers.1", attn="attn.w_msa"),
    *_mergings("stages.{i}.downsample", "stages.{i+1}.downsample", "unfolded"),
    ("norm{i}", "out_norms.{i}"),
)

_HF_BLOCK, _BLOCK = "encoder.layers.{i}.blocks.{j}", "stages.{i}.blocks.{j}"
_HUGGINGFACE = (
    ("embeddings.patch_embeddings.projection", "stages.0.downsample.proj"),
    ("embeddings.norm", "stages.0.downsample.norm"),
    (f"{_HF_BLOCK}.layernorm_before", f"{_BLOCK}.norm1"),
    (f"{_HF_BLOCK}.layernorm_after", f"{_BLOCK}.norm2"),
    # Names of the files on the hub, which version 5 of transformers still writes.
    (tuple(f"{_HF_BLOCK}.attention.self.{n}" for n in ("query", "key", "value")), f"{_BLOCK}.attn.qkv", "join_qkv"),
    (f"{_HF_BLOCK}.attention.self.{_TABLE}", f"{_BLOCK}.attn.{_TABLE}"),
    (f"{_HF_BLOCK}.attention.output.dense", f"{_BLOCK}.attn.proj"),
    (f"{_HF_BLOCK}.intermediate.dense", f"{_BLOCK}.mlp.fc1"),
    (f"{_HF_BLOCK}.output.dense", f"{_BLOCK}.mlp.fc2"),
    # Names of the modules in version 5.
    (tuple(f"{_HF_BLOCK}.attention.{n}_proj" for n in "qkv"), f"{_BLOCK}.attn.qkv", "join_qkv"),
    (f"{_HF_BLOCK}.attention.relative_position_bias.{_TABLE}", f"{_BLOCK}.attn.{_TABLE}"),
    (f"{_HF_BLOCK}.attention.o_proj", f"{_BLOCK}.attn.proj"),
    (f"{_HF_BLOCK}.mlp.fc1", f"{_BLOCK}.mlp.fc1"),
    (f"{_HF_BLOCK}.mlp.fc2", f"{_BLOCK}.mlp.fc2"),
    *_mergings("encoder.layers.{i}.downsample", "stages.{i+1}.downsample"),
)
_WITHOUT_SWIN = ((r"^(backbone\.)?swin\.", ""),)

_MONAI_SWIN_UNETR = (
    ("patch_embed.proj", "stages.0.downsample.proj"),
    *_blocks("layers{i}.0.blocks.{j}", "stages.{i}.blocks.{j}", "mlp.linear1", "mlp.linear2"),
    *_mergings("layers{i}.0.downsample", "stages.{i}.blocks.2"),
)

_is_official = names_like(r"(backbone\.)?layers\.0\.downsample\.reduction\.")
_has_norm_of_each_stage = names_like(r"(backbone\.)?norm0\.")

# Searched in this order when the source is to be guessed.
SOURCES = {
    "microsoft_swin_upernet": Source(
        title="Swin with UPerNet as its authors released it (upernet_swin_tiny_patch4_window7_512x512.pth)",
        family="swin",
        is_it=lambda shapes: _is_official(shapes) and _has_norm_of_each_stage(shapes),
        prefix="backbone.",
        backbone=(*_OFFICIAL, ("norm{i}", "out_norms.{i}")),
        decoder=MMSEG_UPER,
        ignored=(*_BUFFERS, *IGNORED),
    ),
    "microsoft_swin": Source(
        title="Swin classifier as its authors released it (swin_tiny_patch4_window7_224.pth)",
        family="swin",
        is_it=_is_official,
        backbone=(*_OFFICIAL, *_LAST_NORM),
        ignored=(*_BUFFERS, r"head\."),
        absent=_ABSENT,
    ),
    "timm_swin": Source(
        title="Swin of timm",
        family="swin",
        is_it=names_like(r"layers[._]1\.downsample\.reduction\."),
        backbone=_TIMM,
        ignored=(*_BUFFERS, r"head\."),
        cleanups=((r"^layers_(\d)", r"layers.\1"),),
        absent=_ABSENT,
    ),
    "torchvision_swin": Source(
        title="Swin classifier of torchvision (swin_t)",
        family="swin",
        is_it=names_like(r"features\.1\.0\.attn\.qkv\."),
        backbone=_TORCHVISION,
        ignored=(*_BUFFERS, r"head\."),
        absent=_ABSENT,
    ),
    "huggingface_swin_backbone": Source(
        title="Swin of transformers with a norm for each stage, whole with UPerNet or the backbone (model.safetensors)",
        family="swin",
        is_it=names_like(r"(backbone\.)?hidden_states_norms\.stage1\."),
        prefix="backbone.",
        backbone=(*_HUGGINGFACE, ("hidden_states_norms.stage{i+1}", "out_norms.{i}")),
        decoder=HUGGINGFACE_UPER,
        ignored=(*_BUFFERS, r"layernorm\.", r"auxiliary_head\."),
        cleanups=_WITHOUT_SWIN,
    ),
    "huggingface_swin": Source(
        title="Swin classifier of transformers (model.safetensors, pytorch_model.bin)",
        family="swin",
        is_it=names_like(r"(swin\.)?encoder\.layers\.0\.blocks\.0\.attention\."),
        backbone=(*_HUGGINGFACE, ("layernorm", "out_norms.3")),
        ignored=(*_BUFFERS, r"classifier\."),
        cleanups=_WITHOUT_SWIN,
        absent=_ABSENT,
    ),
    "mmseg_swin": Source(
        title="Swin of mmsegmentation 1.x, whole with UPerNet or the backbone",
        family="swin",
        is_it=names_like(r"(backbone\.)?stages\.0\.blocks\.0\.attn\.w_msa\."),
        prefix="backbone.",
        backbone=_MMSEG,
        decoder=MMSEG_UPER,
        ignored=(*_BUFFERS, *IGNORED, r"head\."),
        absent=_ABSENT,
    ),
    "monai_swin_unetr": Source(
        title="Swin UNETR of MONAI, and its self-supervised encoder (model_swinvit.pt)",
        family="swin_unetr",
        is_it=names_like(r"(swinViT\.)?layers1\.0\.blocks\.0\.attn\."),
        prefix="swinViT.",
        backbone=_MONAI_SWIN_UNETR,
        decoder=SWIN_UNETR_DECODER,
        # The heads of self-supervised training: rotation, contrast, reconstruction.
        ignored=(*_BUFFERS, r"(rotation|contrastive)_head\.", r"conv\."),
        cleanups=((r"\.mlp\.fc(\d)\.", r".mlp.linear\1."),),
        remarks=(
            "the file does not say in which order its mergings stack their neighbours: weights published with the "
            "paper, and those of MONAI before 1.5, need merge_order='legacy'; those of "
            "downsample='mergingv2' need 'v2'",
        ),
    ),
}
