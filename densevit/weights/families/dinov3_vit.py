"""DINOv3's ViTs."""

from densevit.backbones.dinov3_vit import VARIANTS
from densevit.weights.families.dinov2 import BLOCK, CLASS_HEAD, PATCHES, UNUSED
from densevit.weights.family import Family, Release, Row, Shapes, names_like, patch_size, within
from densevit.weights.published import PublishedFile, at_hub

# The authors' own licence, of code and weights: it must be accepted, and forbids some uses.
LICENCE = "DINOv3 License"
TRAINED_ON = "LVD-1689M or SAT-493M"

_POSITION = "stages.0.downsample.position."
_CLASS_TOKEN, _REGISTERS = f"{_POSITION}cls_token!", f"{_POSITION}reg_token!"
_BIAS = "attn.qv_bias!"
_MLP = ("mlp.fc1", "mlp.fc2")

_OFFICIAL = (
    ("cls_token!", _CLASS_TOKEN),
    ("storage_tokens!", _REGISTERS),
    ("patch_embed.proj", PATCHES),
    *within(BLOCK, BLOCK, "norm1", "attn.qkv.weight!", ("attn.qkv.bias!", _BIAS, "without_key_bias"), "attn.proj"),
    *within(BLOCK, BLOCK, "ls1.gamma!", "norm2", *_MLP, (("mlp.w1", "mlp.w2"), "mlp.w12", "join"), "mlp.w3"),
    *within(BLOCK, BLOCK, "ls2.gamma!"),
    ("norm", "norm"),
)
_TIMM = (
    ("cls_token!", _CLASS_TOKEN),
    ("reg_token!", _REGISTERS),
    ("patch_embed.proj", PATCHES),
    *within(BLOCK, BLOCK, "norm1", "attn.qkv.weight!", "attn.proj", ("gamma_1!", "ls1.gamma!"), "norm2", *_MLP),
    *within(BLOCK, BLOCK, (("attn.q_bias!", "attn.v_bias!"), _BIAS, "join"), ("gamma_2!", "ls2.gamma!")),
    *within(BLOCK, BLOCK, (("mlp.fc1_g", "mlp.fc1_x"), "mlp.w12", "join")),
    ("norm", "norm"),
)
# SwiGLU's last layer has the name of an Mlp's.
_TIMM_GATED = tuple(
    (row[0], row[1].replace("fc2", "w3")) if row[0] == f"{BLOCK}mlp.fc2" else row
    for row in _TIMM
    if row[0] != f"{BLOCK}mlp.fc1"
)
_PROJECTIONS = tuple(f"attention.{name}_proj.weight!" for name in "qkv")
_HUGGINGFACE = (
    ("embeddings.cls_token!", _CLASS_TOKEN),
    ("embeddings.register_tokens!", _REGISTERS),
    ("embeddings.patch_embeddings", PATCHES),
    *within("layer.{k}.", BLOCK, "norm1", (_PROJECTIONS, "attn.qkv.weight!", "join_qkv"), "norm2"),
    *within("layer.{k}.", BLOCK, (("attention.q_proj.bias!", "attention.v_proj.bias!"), _BIAS, "join")),
    *within("layer.{k}.", BLOCK, ("attention.o_proj", "attn.proj"), ("layer_scale1.lambda1!", "ls1.gamma!")),
    *within("layer.{k}.", BLOCK, ("layer_scale2.lambda1!", "ls2.gamma!")),
    ("norm", "norm"),
)
_HUGGINGFACE_MLP = within("layer.{k}.", BLOCK, ("mlp.up_proj", "mlp.fc1"), ("mlp.down_proj", "mlp.fc2"))
_HUGGINGFACE_GATED: tuple[Row, ...] = within(
    "layer.{k}.", BLOCK, (("mlp.gate_proj", "mlp.up_proj"), "mlp.w12", "join"), ("mlp.down_proj", "mlp.w3")
)
_GATED = tuple(name for name, options in VARIANTS.items() if "gated_ratio" in options)
_PLAIN = tuple(name for name in VARIANTS if name not in _GATED)


SATELLITE = dict(  # 255 times the numbers of the release
    type="mean_std", mean=(109.65, 104.805, 75.48), std=(54.315, 39.78, 36.465)
)
WEB, EARTH = dict(trained_on="LVD-1689M"), dict(trained_on="SAT-493M", normalization=SATELLITE)
_LETTERS = dict(small="s", small_plus="splus", base="b", large="l", huge_plus="hplus", **{"7b": "7b"})


def _files(timm: str, huggingface: str, *, gated: bool) -> tuple[PublishedFile, ...]:
    """Of the variants with a gate or without, by the pattern that is given; those of transformers ask for consent."""
    found: list[PublishedFile] = []
    for size, letters in _LETTERS.items():
        name = f"dinov3_vit_{size}"
        if (name in _GATED) is gated:
            words = letters.replace("plus", "16plus") if "plus" in letters else f"{letters}16"
            for data, facts in (("lvd1689m", WEB), ("sat493m", EARTH)):
                if data == "lvd1689m" or size in ("large", "7b"):
                    found += at_hub(timm, [(name, (size, data))], **facts) if timm else ()
                    found += at_hub(huggingface, [(name, (words, data))], gated=True, **facts) if huggingface else ()
    return tuple(found)


def _timm(*, gated: bool) -> Release:
    layer = "fc1_g" if gated else "fc1"
    return Release(
        title=f"DINOv3 ViT of timm{', those with SwiGLU' if gated else ''}",
        publisher="huggingface/pytorch-image-models",
        licence=LICENCE,
        trained_on=TRAINED_ON,
        variants=_GATED if gated else _PLAIN,
        is_it=names_like(r"reg_token$", r"blocks\.0\.gamma_1$", rf"blocks\.0\.mlp\.{layer}\."),
        backbone=_TIMM_GATED if gated else _TIMM,
        ignored=(r"head\.", r"fc_norm\."),
        files=_files("timm/vit_{}_patch16_dinov3.{}", "", gated=gated),
        absent=(r".*\.attn\.qv_bias$",),  # left out where they are zero, as in a fresh model
    )


def _huggingface(*, gated: bool) -> Release:
    layer = "gate_proj" if gated else r"(up|down)_proj"
    return Release(
        title=f"DINOv3 ViT of transformers{', those with SwiGLU' if gated else ''}",
        publisher="huggingface/transformers",
        hub=("model.safetensors",),
        licence=LICENCE,
        trained_on=TRAINED_ON,
        variants=_GATED if gated else _PLAIN,
        is_it=names_like(r"layer\.0\.layer_scale1\.", rf"layer\.0\.mlp\.{layer}\."),
        backbone=(*_HUGGINGFACE, *(_HUGGINGFACE_GATED if gated else _HUGGINGFACE_MLP)),
        ignored=(*UNUSED, r"rope_embeddings\."),
        files=_files("", "facebook/dinov3-vit{}-pretrain-{}", gated=gated),
    )


def _qkv_bias(shapes: Shapes) -> str | bool:
    return "qv" if any(name.endswith("attn.qv_bias") for name in shapes) else False


def _num_registers(shapes: Shapes) -> int:
    return shapes.get(f"backbone.{_POSITION}reg_token", (1, 0))[1]


FAMILY = Family(
    name="dinov3_vit",
    variants=tuple(VARIANTS),
    releases={
        "facebook_dinov3": Release(
            title="DINOv3 ViT as its authors released it, the backbone, or with the linear classifier of the 7B",
            publisher="facebookresearch/dinov3",
            hub=("dinov3_vits16_pretrain_lvd1689m-08c60483.pth",),
            licence=LICENCE,
            trained_on=TRAINED_ON,
            is_it=names_like(r"(backbone\.)?storage_tokens", r"(backbone\.)?blocks\.0\.ls1\.gamma"),
            prefix="backbone.",
            backbone=_OFFICIAL,
            class_head=(CLASS_HEAD,),
            ignored=(*UNUSED, r"rope_embed\.", r"local_cls_norm\.", r"blocks\.\d+\.attn\.qkv\.bias_mask$", r"head\."),
        ),
        "timm_dinov3_gated": _timm(gated=True),
        "timm_dinov3": _timm(gated=False),
        "huggingface_dinov3_gated": _huggingface(gated=True),
        "huggingface_dinov3": _huggingface(gated=False),
    },
    options=dict(patch_size=patch_size, num_registers=_num_registers, qkv_bias=_qkv_bias),
    varying=r"reg_token$|\.qv_bias$|\.rope\.rates$|backbone\.(out_)?norms?\.",
)
