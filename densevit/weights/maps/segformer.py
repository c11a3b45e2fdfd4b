"""Key maps of SegFormer and PVT v2."""

from densevit.weights.maps.heads import MMSEG_FPN, MMSEG_UPER
from densevit.weights.maps.source import Shapes, Source, names_like

OFFICIAL_BACKBONE = (
    ("patch_embed{i+1}.proj", "stages.{i}.downsample.proj"),
    ("patch_embed{i+1}.norm", "stages.{i}.downsample.norm"),
    ("block{i+1}.{j}.norm1", "stages.{i}.blocks.{j}.norm1"),
    ("block{i+1}.{j}.attn.q", "stages.{i}.blocks.{j}.attn.q"),
    ("block{i+1}.{j}.attn.kv", "stages.{i}.blocks.{j}.attn.kv"),
    ("block{i+1}.{j}.attn.proj", "stages.{i}.blocks.{j}.attn.proj"),
    ("block{i+1}.{j}.attn.sr", "stages.{i}.blocks.{j}.attn.sr.conv"),
    ("block{i+1}.{j}.attn.norm", "stages.{i}.blocks.{j}.attn.sr.norm"),
    ("block{i+1}.{j}.norm2", "stages.{i}.blocks.{j}.norm2"),
    ("block{i+1}.{j}.mlp.fc1", "stages.{i}.blocks.{j}.mlp.fc1"),
    ("block{i+1}.{j}.mlp.dwconv.dwconv", "stages.{i}.blocks.{j}.mlp.dwconv"),
    ("block{i+1}.{j}.mlp.fc2", "stages.{i}.blocks.{j}.mlp.fc2"),
    ("norm{i+1}", "stages.{i}.norm"),
)
OFFICIAL_DECODER = (
    ("decode_head.linear_c{i+1}.proj", "decoder.project.{i}"),
    ("decode_head.linear_fuse.conv", "decoder.fuse", "pointwise"),
    ("decode_head.linear_fuse.bn", "decoder.norm"),
    ("decode_head.linear_pred", "head"),
)

HUGGINGFACE_BACKBONE = (
    # Names of the files on the hub, which version 5 of transformers still writes.
    ("encoder.patch_embeddings.{i}.proj", "stages.{i}.downsample.proj"),
    ("encoder.patch_embeddings.{i}.layer_norm", "stages.{i}.downsample.norm"),
    ("encoder.block.{i}.{j}.layer_norm_1", "stages.{i}.blocks.{j}.norm1"),
    ("encoder.block.{i}.{j}.attention.self.query", "stages.{i}.blocks.{j}.attn.q"),
    (
        ("encoder.block.{i}.{j}.attention.self.key", "encoder.block.{i}.{j}.attention.self.value"),
        "stages.{i}.blocks.{j}.attn.kv",
        "join",
    ),
    ("encoder.block.{i}.{j}.attention.output.dense", "stages.{i}.blocks.{j}.attn.proj"),
    ("encoder.block.{i}.{j}.attention.self.sr", "stages.{i}.blocks.{j}.attn.sr.conv"),
    ("encoder.block.{i}.{j}.attention.self.layer_norm", "stages.{i}.blocks.{j}.attn.sr.norm"),
    ("encoder.block.{i}.{j}.layer_norm_2", "stages.{i}.blocks.{j}.norm2"),
    ("encoder.block.{i}.{j}.mlp.dense1", "stages.{i}.blocks.{j}.mlp.fc1"),
    ("encoder.block.{i}.{j}.mlp.dwconv.dwconv", "stages.{i}.blocks.{j}.mlp.dwconv"),
    ("encoder.block.{i}.{j}.mlp.dense2", "stages.{i}.blocks.{j}.mlp.fc2"),
    ("encoder.layer_norm.{i}", "stages.{i}.norm"),
    # Names of the modules in version 5.
    ("stages.{i}.patch_embeddings.proj", "stages.{i}.downsample.proj"),
    ("stages.{i}.patch_embeddings.layer_norm", "stages.{i}.downsample.norm"),
    ("stages.{i}.blocks.{j}.layernorm_before", "stages.{i}.blocks.{j}.norm1"),
    ("stages.{i}.blocks.{j}.attention.q_proj", "stages.{i}.blocks.{j}.attn.q"),
    (
        ("stages.{i}.blocks.{j}.attention.k_proj", "stages.{i}.blocks.{j}.attention.v_proj"),
        "stages.{i}.blocks.{j}.attn.kv",
        "join",
    ),
    ("stages.{i}.blocks.{j}.attention.o_proj", "stages.{i}.blocks.{j}.attn.proj"),
    (
        "stages.{i}.blocks.{j}.attention.sequence_reduction.sequence_reduction",
        "stages.{i}.blocks.{j}.attn.sr.conv",
    ),
    ("stages.{i}.blocks.{j}.attention.sequence_reduction.layer_norm", "stages.{i}.blocks.{j}.attn.sr.norm"),
    ("stages.{i}.blocks.{j}.layernorm_after", "stages.{i}.blocks.{j}.norm2"),
    ("stages.{i}.blocks.{j}.mlp.fc1", "stages.{i}.blocks.{j}.mlp.fc1"),
    ("stages.{i}.blocks.{j}.mlp.dwconv.dwconv", "stages.{i}.blocks.{j}.mlp.dwconv"),
    ("stages.{i}.blocks.{j}.mlp.fc2", "stages.{i}.blocks.{j}.mlp.fc2"),
    ("stages.{i}.layer_norm", "stages.{i}.norm"),
)
HUGGINGFACE_DECODER = (
    ("decode_head.linear_c.{i}.proj", "decoder.project.{i}"),
    ("decode_head.linear_projections.{i}.proj", "decoder.project.{i}"),
    ("decode_head.linear_fuse", "decoder.fuse", "pointwise"),
    ("decode_head.batch_norm", "decoder.norm"),
    ("decode_head.classifier", "head"),
)

MMSEG_BACKBONE = (
    ("layers.{i}.0.projection", "stages.{i}.downsample.proj"),
    ("layers.{i}.0.norm", "stages.{i}.downsample.norm"),
    ("layers.{i}.1.{j}.norm1", "stages.{i}.blocks.{j}.norm1"),
    (
        "layers.{i}.1.{j}.attn.attn.in_proj_{p}",
        ("stages.{i}.blocks.{j}.attn.q", "stages.{i}.blocks.{j}.attn.kv"),
        "split_qkv",
    ),
    ("layers.{i}.1.{j}.attn.attn.out_proj", "stages.{i}.blocks.{j}.attn.proj"),
    ("layers.{i}.1.{j}.attn.sr", "stages.{i}.blocks.{j}.attn.sr.conv"),
    ("layers.{i}.1.{j}.attn.norm", "stages.{i}.blocks.{j}.attn.sr.norm"),
    ("layers.{i}.1.{j}.norm2", "stages.{i}.blocks.{j}.norm2"),
    ("layers.{i}.1.{j}.ffn.layers.0", "stages.{i}.blocks.{j}.mlp.fc1", "pointwise"),
    ("layers.{i}.1.{j}.ffn.layers.1", "stages.{i}.blocks.{j}.mlp.dwconv"),
    ("layers.{i}.1.{j}.ffn.layers.4", "stages.{i}.blocks.{j}.mlp.fc2", "pointwise"),
    ("layers.{i}.2", "stages.{i}.norm"),
)
MMSEG_DECODER = (
    ("decode_head.convs.{i}.conv", "decoder.project.{i}", "pointwise"),
    ("decode_head.convs.{i}.bn", "decoder.project_norms.{i}"),
    ("decode_head.fusion_conv.conv", "decoder.fuse", "pointwise_finest_first"),
    ("decode_head.fusion_conv.bn", "decoder.norm"),
    ("decode_head.conv_seg", "head"),
)

TIMM_BACKBONE = (
    ("patch_embed.proj", "stages.0.downsample.proj"),
    ("patch_embed.norm", "stages.0.downsample.norm"),
    ("stages.{i}.downsample.proj", "stages.{i}.downsample.proj"),
    ("stages.{i}.downsample.norm", "stages.{i}.downsample.norm"),
    ("stages.{i}.blocks.{j}.norm1", "stages.{i}.blocks.{j}.norm1"),
    ("stages.{i}.blocks.{j}.attn.q", "stages.{i}.blocks.{j}.attn.q"),
    ("stages.{i}.blocks.{j}.attn.kv", "stages.{i}.blocks.{j}.attn.kv"),
    ("stages.{i}.blocks.{j}.attn.proj", "stages.{i}.blocks.{j}.attn.proj"),
    ("stages.{i}.blocks.{j}.attn.sr", "stages.{i}.blocks.{j}.attn.sr.conv"),
    ("stages.{i}.blocks.{j}.attn.norm", "stages.{i}.blocks.{j}.attn.sr.norm"),
    ("stages.{i}.blocks.{j}.norm2", "stages.{i}.blocks.{j}.norm2"),
    ("stages.{i}.blocks.{j}.mlp.fc1", "stages.{i}.blocks.{j}.mlp.fc1"),
    ("stages.{i}.blocks.{j}.mlp.dwconv", "stages.{i}.blocks.{j}.mlp.dwconv"),
    ("stages.{i}.blocks.{j}.mlp.fc2", "stages.{i}.blocks.{j}.mlp.fc2"),
    ("stages.{i}.norm", "stages.{i}.norm"),
)


def _is_official_pvt_v2(shapes: Shapes) -> bool:
    """PVT v2 has MiT's names: FFN ratio 8 or pooled attention tell them apart, and B5 is MiT-B5 tensor for tensor."""
    hidden, dim = shapes.get("block1.0.mlp.fc1.weight", (0, 1))[:2]
    return hidden == 8 * dim or "block4.0.attn.sr.weight" in shapes


# Searched in this order when the source is to be guessed.
SOURCES = {
    "whai362_pvt_v2": Source(
        title="PVT v2 as its authors released it (pvt_v2_b2.pth)",
        family="pvt_v2",
        is_it=_is_official_pvt_v2,
        backbone=OFFICIAL_BACKBONE,
        ignored=(r"head\.",),
    ),
    "nvlabs": Source(
        title="SegFormer as its authors released it, whole or the ImageNet backbone (mit_b2.pth)",
        family="mit",
        is_it=names_like(r"(backbone\.)?patch_embed1\."),
        prefix="backbone.",
        backbone=OFFICIAL_BACKBONE,
        decoder=OFFICIAL_DECODER,
        ignored=(r"head\.", r"decode_head\.conv_seg\."),
    ),
    "huggingface_segformer": Source(
        title="SegFormer of transformers (model.safetensors, pytorch_model.bin)",
        family="mit",
        is_it=names_like(r"(segformer\.)?(encoder\.patch_embeddings\.0|stages\.0\.patch_embeddings)\."),
        prefix="segformer.",
        backbone=HUGGINGFACE_BACKBONE,
        decoder=HUGGINGFACE_DECODER,
        ignored=(r"classifier\.",),
    ),
    "mmseg_segformer": Source(
        title="SegFormer of mmsegmentation 1.x, whole or the backbone",
        family="mit",
        is_it=names_like(r"(backbone\.)?layers\.0\.0\.projection\."),
        prefix="backbone.",
        backbone=MMSEG_BACKBONE,
        decoder=(*MMSEG_DECODER, *MMSEG_UPER, *MMSEG_FPN),
        ignored=(r"auxiliary_head\.", r"data_preprocessor\.", r"head\."),
    ),
    "timm_pvt_v2": Source(
        title="PVT v2 of timm",
        family="pvt_v2",
        is_it=names_like(r"patch_embed\.proj\."),
        backbone=TIMM_BACKBONE,
        ignored=(r"head\.",),
        cleanups=((r"^stages_(\d)", r"stages.\1"),),
    ),
}
