"""Key maps of MViT v1 and v2."""

from densevit.weights.maps.source import Row, Shapes, Source, names_like

# What all releases have in common beside the places of a block: (theirs, ours) within a block.
_BLOCK = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
_POOLS = tuple(
    row
    for name in ("q", "k", "v")
    for row in (
        (f"attn.pool_{name}", f"attn.pool_{name}.conv", "squeeze_time"),
        (f"attn.norm_{name}", f"attn.pool_{name}.norm"),
    )
)
_PLANE = (("attn.rel_pos_h!", "attn.rel_pos.0!"), ("attn.rel_pos_w!", "attn.rel_pos.1!"))
_SPACE_TIME = (
    ("attn.rel_pos_t!", "attn.rel_pos.0!"),
    ("attn.rel_pos_h!", "attn.rel_pos.1!"),
    ("attn.rel_pos_w!", "attn.rel_pos.2!"),
)
_POSITION = "stages.0.downsample.position."
_STEM: tuple[Row, ...] = (
    ("patch_embed.proj", "stages.0.downsample.proj", "squeeze_time"),
    ("cls_token!", f"{_POSITION}cls_token!"),
    ("pos_embed_class!", f"{_POSITION}pos_embed_class!"),
    ("pos_embed_spatial!", f"{_POSITION}pos_embed_spatial!"),
    ("pos_embed_temporal!", f"{_POSITION}pos_embed_temporal!"),
    # One table for the class token and the grid of an image, in SlowFast's v1 for ImageNet.
    ("pos_embed!", (f"{_POSITION}pos_embed_class!", f"{_POSITION}pos_embed_spatial!"), "split_class"),
)


def _within(theirs: str, ours: str, rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Rows of a block, at its place in their names and in ours."""

    def at(place: str, names: str | tuple[str, ...]) -> str | tuple[str, ...]:
        return place + names if isinstance(names, str) else tuple(place + name for name in names)

    return tuple((at(theirs, row[0]), at(ours, row[1]), *row[2:]) for row in rows)


def _official(positions: tuple[Row, ...]) -> tuple[Row, ...]:
    """Blocks that are counted through."""
    separate = (("attn.q", "attn.k", "attn.v"), "attn.qkv", "join_qkv")  # of early video releases
    rows = (*((name, name) for name in _BLOCK), *_POOLS, *positions, ("proj", "proj"), separate)
    return (*_STEM, *_within("blocks.{k}.", "blocks.{k}.", rows))


DETECTRON2 = (*_official(_PLANE), *((f"scale{i + 2}_norm", f"out_norms.{i}") for i in range(4)))

TIMM_BLOCK = (*((name, name) for name in _BLOCK), *_POOLS, *_PLANE)
TIMM = (
    *_STEM,
    *_within("stages.{i}.blocks.{j}.", "stages.{i}.blocks.{j}.", TIMM_BLOCK),
    # The width grows in the attention of a stage's first block or in the Mlp of its last one.
    ("stages.{i}.blocks.0.shortcut_proj_attn", "stages.{i}.blocks.0.proj"),
    ("stages.{i}.blocks.{j}.shortcut_proj_mlp", "stages.{i}.blocks.{j}.proj"),
    ("norm", "out_norms.3"),
)

TORCHVISION_BLOCK = (
    ("norm1", "norm1"),
    ("attn.qkv", "attn.qkv"),
    ("attn.project.0", "attn.proj"),
    *((f"attn.pool_{name}.pool", f"attn.pool_{name}.conv") for name in ("q", "k", "v")),
    *((f"attn.pool_{name}.norm_act.0", f"attn.pool_{name}.norm") for name in ("q", "k", "v")),
    *_SPACE_TIME,
    ("norm2", "norm2"),
    ("mlp.0", "mlp.fc1"),
    ("mlp.3", "mlp.fc2"),
    ("project", "proj"),
)
TORCHVISION = (
    ("conv_proj", "stages.0.downsample.proj"),
    ("pos_encoding.class_token!", f"{_POSITION}cls_token!", "as_row"),
    ("pos_encoding.class_pos!", f"{_POSITION}pos_embed_class!", "as_row"),
    ("pos_encoding.spatial_pos!", f"{_POSITION}pos_embed_spatial!", "as_table"),
    ("pos_encoding.temporal_pos!", f"{_POSITION}pos_embed_temporal!", "as_table"),
    *_within("blocks.{k}.", "blocks.{k}.", TORCHVISION_BLOCK),
    ("norm", "out_norms.3"),
)

# A classifier has one norm, after its last block; those of the finer maps are a dense model's own.
_FINER_NORMS = (r"backbone\.out_norms\.[012]\.",)


def _is_video(shapes: Shapes) -> bool:
    """Tables of time tell video from image."""
    return any(name.endswith(("attn.rel_pos_t", "pos_embed_temporal")) for name in shapes)


# Searched in this order when the source is to be guessed.
SOURCES = {
    "torchvision_mvit": Source(
        title="MViT for video of torchvision (mvit_v1_b, mvit_v2_s)",
        family="mvit",
        is_it=names_like(r"blocks\.\d+\.attn\.pool_k\.pool\."),
        backbone=TORCHVISION,
        ignored=(r"head\.",),
        absent=_FINER_NORMS,
    ),
    "slowfast_mvit": Source(
        title="MViT v1 and v2 for video as its authors released it (MVIT_B_16x4_CONV, MViTv2_S_16x4)",
        family="mvit",
        is_it=_is_video,
        backbone=(*_official(_SPACE_TIME), ("norm", "out_norms.3")),
        ignored=(r"head\.",),
        absent=_FINER_NORMS,
    ),
    "timm_mvit": Source(
        title="MViT v2 of timm (mvitv2_small)",
        family="mvit",
        is_it=names_like(r"stages[._]\d+\.blocks\.\d+\.attn\.pool_k\.weight"),
        backbone=TIMM,
        ignored=(r"head\.",),
        cleanups=((r"^stages_(\d)", r"stages.\1"),),
        absent=_FINER_NORMS,
    ),
    "detectron2_mvit": Source(
        title="MViT v2 of detectron2, the backbone alone or in a detector",
        family="mvit",
        is_it=names_like(r"(backbone\.)?(bottom_up\.)?scale2_norm\."),
        prefix="backbone.bottom_up.",
        backbone=DETECTRON2,
        ignored=(r"backbone\.", r"proposal_generator\.", r"roi_heads\.", r"pixel_(mean|std)"),
        cleanups=((r"^bottom_up\.", ""),),
        remarks=(
            "detectron2 trains MViT with attention in windows, which its weights do not tell: "
            "make the backbone with pyramid='windows' for the same maps",
        ),
    ),
    "facebook_mvit": Source(
        title="MViT v2 for images as its authors released it (MViTv2_S_in1k.pyth)",
        family="mvit",
        is_it=names_like(r"blocks\.\d+\.attn\.pool_k\.weight"),
        backbone=(*_official(_PLANE), ("norm", "out_norms.3")),
        ignored=(r"head\.",),
        absent=_FINER_NORMS,
    ),
}
