"""MiT and SegFormer."""

from densevit.backbones.mit import VARIANTS
from densevit.weights.families import pvt_v2
from densevit.weights.families.own import MMSEG_FPN, MMSEG_IGNORED, MMSEG_UPER
from densevit.weights.families.pvt_v2 import BLOCK, EMBEDDING
from densevit.weights.family import DecoderTraits, Family, Pair, Release, Shapes, names_like, within
from densevit.weights.published import mit as published

_OFFICIAL_DECODER = (
    ("decode_head.linear_c{i+1}.proj", "decoder.project.{i}"),
    ("decode_head.linear_fuse.conv", "decoder.fuse", "pointwise"),
    ("decode_head.linear_fuse.bn", "decoder.norm"),
    ("decode_head.linear_pred", "head"),
)

HUGGINGFACE = (
    # Names of the files on the hub, which version 5 of transformers still writes.
    *within("encoder.patch_embeddings.{i}.", EMBEDDING, "proj", ("layer_norm", "norm")),
    *within(
        "encoder.block.{i}.{j}.",
        BLOCK,
        ("layer_norm_1", "norm1"),
        ("attention.self.query", "attn.q"),
        (("attention.self.key", "attention.self.value"), "attn.kv", "join"),
        ("attention.output.dense", "attn.proj"),
        ("attention.self.sr", "attn.sr.conv"),
        ("attention.self.layer_norm", "attn.sr.norm"),
        ("layer_norm_2", "norm2"),
        ("mlp.dense1", "mlp.fc1"),
        ("mlp.dwconv.dwconv", "mlp.dwconv"),
        ("mlp.dense2", "mlp.fc2"),
    ),
    ("encoder.layer_norm.{i}", "stages.{i}.norm"),
    # Names of the modules in version 5.
    *within("stages.{i}.patch_embeddings.", EMBEDDING, "proj", ("layer_norm", "norm")),
    *within(
        BLOCK,
        BLOCK,
        ("layernorm_before", "norm1"),
        ("attention.q_proj", "attn.q"),
        (("attention.k_proj", "attention.v_proj"), "attn.kv", "join"),
        ("attention.o_proj", "attn.proj"),
        ("attention.sequence_reduction.sequence_reduction", "attn.sr.conv"),
        ("attention.sequence_reduction.layer_norm", "attn.sr.norm"),
        ("layernorm_after", "norm2"),
        "mlp.fc1",
        ("mlp.dwconv.dwconv", "mlp.dwconv"),
        "mlp.fc2",
    ),
    ("stages.{i}.layer_norm", "stages.{i}.norm"),
)
_HUGGINGFACE_DECODER = (
    ("decode_head.linear_c.{i}.proj", "decoder.project.{i}"),
    ("decode_head.linear_projections.{i}.proj", "decoder.project.{i}"),
    ("decode_head.linear_fuse", "decoder.fuse", "pointwise"),
    ("decode_head.batch_norm", "decoder.norm"),
    ("decode_head.classifier", "head"),
)

_MMSEG = (
    *within("layers.{i}.0.", EMBEDDING, ("projection", "proj"), "norm"),
    *within(
        "layers.{i}.1.{j}.",
        BLOCK,
        "norm1",
        ("attn.attn.in_proj_{p}", ("attn.q", "attn.kv"), "split_qkv"),
        ("attn.attn.out_proj", "attn.proj"),
        ("attn.sr", "attn.sr.conv"),
        ("attn.norm", "attn.sr.norm"),
        "norm2",
        ("ffn.layers.0", "mlp.fc1", "pointwise"),
        ("ffn.layers.1", "mlp.dwconv"),
        ("ffn.layers.4", "mlp.fc2", "pointwise"),
    ),
    ("layers.{i}.2", "stages.{i}.norm"),
)
_MMSEG_DECODER = (
    ("decode_head.convs.{i}.conv", "decoder.project.{i}", "pointwise"),
    ("decode_head.convs.{i}.bn", "decoder.project_norms.{i}"),
    ("decode_head.fusion_conv.conv", "decoder.fuse", "pointwise_finest_first"),
    ("decode_head.fusion_conv.bn", "decoder.norm"),
    ("decode_head.conv_seg", "head"),
)


def _is_official(shapes: Shapes) -> bool:
    """The names of PVT v1 and v2 begin alike."""
    is_mit_or_pvt = names_like(r"(backbone\.)?patch_embed1\.")(shapes)
    return is_mit_or_pvt and not names_like(r"(backbone\.)?pos_embed1$")(shapes) and not pvt_v2.is_official(shapes)


def _all_mlp_options(shapes: Shapes) -> dict:
    return {
        "dim": shapes["fuse.weight"][0],
        "project_norm": any(name.startswith("project_norms.") for name in shapes),
    }


FAMILY = Family(
    name="mit",
    variants=tuple(VARIANTS),
    releases={
        "nvlabs": Release(
            title="SegFormer as its authors released it, whole or the ImageNet backbone",
            publisher="NVlabs/SegFormer",
            hub=("mit_b2.pth",),
            licence="NVIDIA NSCL, non-commercial",
            trained_on="ImageNet-1k; whole: ADE20K or Cityscapes",
            is_it=_is_official,
            prefix="backbone.",
            backbone=pvt_v2.OFFICIAL,
            decoder=_OFFICIAL_DECODER,
            class_head=pvt_v2.CLASS_HEAD,
            ignored=(r"decode_head\.conv_seg\.",),
            files=published.SMP,
        ),
        "huggingface_segformer": Release(
            title="SegFormer of transformers",
            publisher="huggingface/transformers",
            hub=("model.safetensors", "pytorch_model.bin"),
            is_it=names_like(r"(segformer\.)?(encoder\.patch_embeddings\.0\.proj|stages\.0\.patch_embeddings)\."),
            prefix="segformer.",
            backbone=HUGGINGFACE,
            decoder=_HUGGINGFACE_DECODER,
            class_head=(("classifier", "class_head.fc"),),
            files=published.NVIDIA,
        ),
        "mmseg_segformer": Release(
            title="SegFormer of mmsegmentation 1.x, whole or the backbone",
            publisher="open-mmlab/mmsegmentation",
            licence="Apache-2.0",
            trained_on="ADE20K or Cityscapes",
            is_it=names_like(r"(backbone\.)?layers\.0\.0\.projection\."),
            prefix="backbone.",
            backbone=_MMSEG,
            decoder=(*_MMSEG_DECODER, *MMSEG_UPER, *MMSEG_FPN),
            ignored=(*MMSEG_IGNORED, r"head\."),
            files=published.MMSEG,
        ),
    },
    decoders={"all_mlp": DecoderTraits(names_like(r"fuse\.weight"), _all_mlp_options)},
    pairs=tuple(Pair(f"mit_b{i}", "all_mlp", 19, dict(dim=768) if i >= 2 else {}) for i in range(6)),
    mmseg={"MiT": "mit"},
)
