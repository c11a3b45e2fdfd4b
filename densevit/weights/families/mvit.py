"""MViT v1 and v2."""

from collections.abc import Collection

from torch import nn

from densevit.backbones.mvit import VARIANTS_V1, VARIANTS_V2
from densevit.blocks.pooling_attention import PoolingAttention
from densevit.blocks.tokens import GridTokens
from densevit.weights.family import Family, Release, Row, Shapes, names_like, within
from densevit.weights.published import VIDEO, at_address, at_hub

# What all releases have in common beside the places of a block.
_NAMES = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
_POOLS = tuple(
    row
    for name in ("q", "k", "v")
    for row in (
        (f"attn.pool_{name}", f"attn.pool_{name}.conv", "squeeze_time"),
        (f"attn.norm_{name}", f"attn.pool_{name}.norm"),
    )
)


def _relative(*axes: str) -> tuple[Row, ...]:
    """Tables of relative positions by the letters of their axes."""
    return tuple((f"attn.rel_pos_{axis}!", f"attn.rel_pos.{n}!") for n, axis in enumerate(axes))


_POSITION = "stages.0.downsample.position."
_STEM: tuple[Row, ...] = (
    ("patch_embed.proj", "stages.0.downsample.proj", "squeeze_time"),
    *within("", _POSITION, "cls_token!", "pos_embed_class!", "pos_embed_spatial!", "pos_embed_temporal!"),
    # One table for the class token and the grid of an image, in SlowFast's v1 for ImageNet.
    ("pos_embed!", (f"{_POSITION}pos_embed_class!", f"{_POSITION}pos_embed_spatial!"), "split_class"),
)


def _official(*axes: str) -> tuple[Row, ...]:
    """Blocks that are counted through."""
    separate = (("attn.q", "attn.k", "attn.v"), "attn.qkv", "join_qkv")  # of early video releases
    return (*_STEM, *within("blocks.{k}.", "blocks.{k}.", *_NAMES, *_POOLS, *_relative(*axes), "proj", separate))


_DETECTRON2 = (*_official("h", "w"), *((f"scale{i + 2}_norm", f"out_norms.{i}") for i in range(4)))
_TIMM = (
    *_STEM,
    *within("stages.{i}.blocks.{j}.", "stages.{i}.blocks.{j}.", *_NAMES, *_POOLS, *_relative("h", "w")),
    # The width grows in the attention of a stage's first block or in the Mlp of its last one.
    ("stages.{i}.blocks.0.shortcut_proj_attn", "stages.{i}.blocks.0.proj"),
    ("stages.{i}.blocks.{j}.shortcut_proj_mlp", "stages.{i}.blocks.{j}.proj"),
    ("norm", "out_norms.3"),
)
_TORCHVISION = (
    ("conv_proj", "stages.0.downsample.proj"),
    *within(
        "pos_encoding.",
        _POSITION,
        ("class_token!", "cls_token!", "as_row"),
        ("class_pos!", "pos_embed_class!", "as_row"),
        ("spatial_pos!", "pos_embed_spatial!", "as_table"),
        ("temporal_pos!", "pos_embed_temporal!", "as_table"),
    ),
    *within(
        "blocks.{k}.",
        "blocks.{k}.",
        *("norm1", "attn.qkv", ("attn.project.0", "attn.proj")),
        *((f"attn.pool_{name}.pool", f"attn.pool_{name}.conv") for name in "qkv"),
        *((f"attn.pool_{name}.norm_act.0", f"attn.pool_{name}.norm") for name in "qkv"),
        *_relative("t", "h", "w"),
        *("norm2", ("mlp.0", "mlp.fc1"), ("mlp.3", "mlp.fc2"), ("project", "proj")),
    ),
    ("norm", "out_norms.3"),
)

# A classifier has one norm, after its last block; those of the finer maps are a dense model's own.
_FINER_NORMS = (r"backbone\.out_norms\.[012]\.",)


def _is_video(shapes: Shapes) -> bool:
    """Tables of time tell video from image."""
    return any(name.endswith(("attn.rel_pos_t", "pos_embed_temporal")) for name in shapes)


def _has_class_token(shapes: Shapes) -> bool:
    return any(name.endswith("cls_token") for name in shapes)


def _class_residual(modules: Collection[nn.Module]) -> bool | None:
    """Whether the class token's query is added to its output; None without a class token, and in v1."""
    has_token = any(isinstance(module, GridTokens) and module.cls_token is not None for module in modules)
    residuals = {module.residual for module in modules if isinstance(module, PoolingAttention)} - {"none"}
    return "all" in residuals if has_token and residuals else None


_TOPS = dict(tiny=82.3, small=83.6, base=84.4, large=85.3)  # % on ImageNet, of the authors
_OF_1K = dict(num_classes=1000, trained_on="ImageNet-1k", score="{} % top-1 on ImageNet")
_TIMM_FILES = at_hub(
    "timm/mvitv2_{}.fb_in1k",
    ((f"mvit_v2_{size}", size, top) for size, top in _TOPS.items()),
    licence="Apache-2.0",
    short="imagenet",
    **_OF_1K,
)
_FACEBOOK_FILES = at_address(
    "https://dl.fbaipublicfiles.com/mvit/mvitv2_models/MViTv2_{}_in1k.pyth",
    ((f"mvit_v2_{size}", size[0].upper(), top) for size, top in _TOPS.items()),
    **_OF_1K,
)
_TORCHVISION_FILES = at_address(
    "https://download.pytorch.org/models/{1}.pth",
    (
        ("mvit_v1_base", ("V1_B", "mvit_v1_b-dbeb1030"), 78.477),
        ("mvit_v2_small", ("V2_S", "mvit_v2_s-ae3be167"), 80.757),
    ),
    name="MViT_{0}_Weights.KINETICS400_V1",
    licence="BSD-3-Clause",
    num_classes=400,
    trained_on="Kinetics-400",
    score="{} % top-1 on Kinetics-400",
    options=dict(spatial_dims=3, pyramid="video"),
    normalization=VIDEO,
)

FAMILY = Family(
    name="mvit",
    variants=(*VARIANTS_V1, *VARIANTS_V2),
    # The first that recognises a file is its source: the names of some begin like those of others further down.
    releases={
        "torchvision_mvit": Release(
            title="MViT for video of torchvision",
            publisher="pytorch/vision",
            hub=("mvit_v1_b", "mvit_v2_s"),
            is_it=names_like(r"blocks\.\d+\.attn\.pool_k\.pool\."),
            backbone=_TORCHVISION,
            class_head=(("head.1", "class_head.fc"),),
            files=_TORCHVISION_FILES,
            absent=_FINER_NORMS,
            options=dict(class_residual=False),
        ),
        "slowfast_mvit": Release(
            title="MViT v1 and v2 for video as its authors released it",
            publisher="facebookresearch/SlowFast",
            hub=("MVIT_B_16x4_CONV", "MViTv2_S_16x4"),
            licence="Apache-2.0",
            trained_on="Kinetics-400 or Something-Something v2",
            is_it=_is_video,
            backbone=(*_official("t", "h", "w"), ("norm", "out_norms.3")),
            class_head=(("head.projection", "class_head.fc"),),
            absent=_FINER_NORMS,
            options=dict(class_residual=False),
        ),
        "timm_mvit": Release(
            title="MViT v2 of timm",
            publisher="huggingface/pytorch-image-models",
            hub=("mvitv2_small",),
            variants=tuple(VARIANTS_V2),
            is_it=names_like(r"stages[._]\d+\.blocks\.\d+\.attn\.pool_k\.weight"),
            backbone=_TIMM,
            class_head=(("head.fc", "class_head.fc"),),
            files=_TIMM_FILES,
            cleanups=((r"^stages_(\d)", r"stages.\1"),),
            absent=_FINER_NORMS,
            options=dict(class_residual=True),
        ),
        "detectron2_mvit": Release(
            title="MViT v2 of detectron2, the backbone alone or in a detector",
            publisher="facebookresearch/detectron2",
            licence="Apache-2.0",
            trained_on="COCO",
            variants=tuple(VARIANTS_V2),
            is_it=names_like(r"(backbone\.)?(bottom_up\.)?scale2_norm\."),
            prefix="backbone.bottom_up.",
            backbone=_DETECTRON2,
            ignored=(r"backbone\.", r"proposal_generator\.", r"roi_heads\.", r"pixel_(mean|std)"),
            cleanups=((r"^bottom_up\.", ""),),
            remarks=(
                "detectron2 trains MViT with attention in windows, which its weights do not tell: "
                "make the backbone with pyramid='windows' for the same maps",
            ),
        ),
        "facebook_mvit": Release(
            title="MViT v2 for images as its authors released it",
            publisher="facebookresearch/mvit",
            hub=("MViTv2_S_in1k.pyth",),
            licence="Apache-2.0",
            trained_on="ImageNet-1k or ImageNet-21k",
            variants=tuple(VARIANTS_V2),
            is_it=names_like(r"blocks\.\d+\.attn\.pool_k\.weight"),
            backbone=(*_official("h", "w"), ("norm", "out_norms.3")),
            files=_FACEBOOK_FILES,
            class_head=(("head.projection", "class_head.fc"),),
            absent=_FINER_NORMS,
            options=dict(class_residual=False),
        ),
    },
    alternatives=(dict(grow_in_mlp=False),),  # detectron2's large one
    rules=dict(class_residual=_class_residual),
    options=dict(class_token=_has_class_token),
    varying=r"\.rel_pos\.|\.pos_embed|cls_token$|backbone\.out_norms\.",
    mmseg={"MViT": "mvit_v1", "MViTv2": "mvit_v2"},
)
