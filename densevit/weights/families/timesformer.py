"""TimeSformer. Weights of any plain ViT with a class token load too, by inflation: see `weights.adapt`."""

from densevit.backbones.timesformer import VARIANTS
from densevit.weights.family import STEM, Family, Release, Shapes, image_size, names_like, patch_size, within
from densevit.weights.published import VIDEO, at_hub

_POSITION, _BLOCK = "stages.0.downsample.position.", "blocks.{k}."
_CLASS_TOKEN = f"{_POSITION}tokens.cls_token!"
_TIME_LAYER = ("temporal_fc", "temporal_attn.fc")
_TIME = "backbone.stages.0.downsample.position.time_embed"

_OFFICIAL = (
    ("cls_token!", _CLASS_TOKEN),
    ("pos_embed!", f"{_POSITION}pos_embed!"),
    ("time_embed!", f"{_POSITION}time_embed!"),
    ("patch_embed.proj", "stages.0.downsample.proj", "frame_kernel"),
    *within(_BLOCK, _BLOCK, "temporal_norm1", "temporal_attn.qkv", "temporal_attn.proj", _TIME_LAYER),
    *within(_BLOCK, _BLOCK, "norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"),
    ("norm", "norm"),
)
_HUGGINGFACE = (
    ("embeddings.cls_token!", _CLASS_TOKEN),
    ("embeddings.position_embeddings!", f"{_POSITION}pos_embed!"),
    ("embeddings.time_embeddings!", f"{_POSITION}time_embed!"),
    ("embeddings.patch_embeddings.projection", "stages.0.downsample.proj", "frame_kernel"),
    *within(
        "encoder.layer.{k}.",
        _BLOCK,
        ("temporal_layernorm", "temporal_norm1"),
        ("temporal_attention.attention.qkv", "temporal_attn.qkv"),
        ("temporal_attention.output.dense", "temporal_attn.proj"),
        ("temporal_dense", "temporal_attn.fc"),
        ("layernorm_before", "norm1"),
        ("attention.attention.qkv", "attn.qkv"),
        ("attention.output.dense", "attn.proj"),
        ("layernorm_after", "norm2"),
        ("intermediate.dense", "mlp.fc1"),
        ("output.dense", "mlp.fc2"),
    ),
    ("layernorm", "norm"),
)


def _frame(shapes: Shapes) -> Shapes:
    """With the kernel of a frame alone."""
    return {**shapes, STEM: (*shapes[STEM][:2], *shapes[STEM][-2:])}


def _num_frames(shapes: Shapes) -> int | None:
    return shapes.get(_TIME, (1, None))[1]


def _attention(shapes: Shapes) -> str | None:
    """None where it is the default of its rank."""
    if len(shapes[STEM]) == 4 or any(".temporal_attn." in name for name in shapes):
        return None
    return "joint" if _TIME in shapes else "space"


_SETS = dict(k400=(400, "Kinetics-400"), k600=(600, "Kinetics-600"), ssv2=(174, "Something-Something v2"))
_TOPS = dict(base=(77.9, 79.1, 59.1), hr=(79.6, 81.8, 61.8))  # % on each of them
_FILES = tuple(
    file
    for size, tops in _TOPS.items()
    for (tag, (classes, data)), top in zip(_SETS.items(), tops, strict=True)
    for file in at_hub(
        f"facebook/timesformer-{{}}-finetuned-{tag}",
        [(f"timesformer_{size}", size, top)],
        licence="CC-BY-NC-4.0",
        num_classes=classes,
        trained_on=data,
        score=f"{{}} % top-1 on {data}",
        options=dict(spatial_dims=3),
        normalization=VIDEO,
    )
)

FAMILY = Family(
    name="timesformer",
    variants=tuple(VARIANTS),
    releases={
        "facebook_timesformer": Release(
            title="TimeSformer as its authors released it",
            publisher="facebookresearch/TimeSformer",
            licence="CC-BY-NC",
            trained_on="Kinetics-400, Kinetics-600 or Something-Something v2",
            is_it=names_like(r"time_embed$"),
            backbone=_OFFICIAL,
            class_head=(("head", "class_head.fc"),),
        ),
        "huggingface_timesformer": Release(
            title="TimeSformer of transformers",
            publisher="huggingface/transformers",
            hub=("facebook/timesformer-base-finetuned-k400",),
            trained_on="Kinetics-400, Kinetics-600 or Something-Something v2",
            is_it=names_like(r"(timesformer\.)?encoder\.layer\.0\.attention\.attention\.qkv\."),
            prefix="timesformer.",
            backbone=_HUGGINGFACE,
            class_head=(("classifier", "class_head.fc"),),
            files=_FILES,
        ),
    },
    options=dict(
        patch_size=lambda shapes: patch_size(_frame(shapes)),
        image_size=lambda shapes: image_size(_frame(shapes)),
        num_frames=_num_frames,
        attention=_attention,
    ),
    varying=r"\.pos_embed$|\.time_embed$|\.temporal_|backbone\.(out_)?norms?\.",
)
