"""DINOv2, with and without registers."""

from densevit.backbones.dinov2 import VARIANTS
from densevit.weights.families import unetr
from densevit.weights.families.unetr import POSITION
from densevit.weights.family import (
    Family,
    Release,
    Row,
    Shapes,
    image_size,
    names_like,
    num_registers,
    patch_size,
    within,
)
from densevit.weights.published import at_address, at_hub

BLOCK, PATCHES = "blocks.{k}.", "stages.0.downsample.proj"
CLASS_HEAD: Row = ("linear_head", "class_head.fc")
_TABLE = f"{POSITION}pos_embed!"
_REGISTERS = f"{POSITION}tokens.reg_token!"
_CLASS_TOKEN = f"{POSITION}tokens.cls_token!"
# Of training alone: what stands for a hidden patch.
UNUSED = (r"(embeddings\.)?mask_token$",)

_PLAIN = ("norm1", "attn.qkv", "attn.proj", "ls1.gamma!", "norm2", "mlp.fc1", "mlp.fc2", "ls2.gamma!")
_OFFICIAL = (
    ("cls_token!", _CLASS_TOKEN),
    ("pos_embed!", _TABLE),
    ("register_tokens!", _REGISTERS),
    ("patch_embed.proj", PATCHES),
    *within(BLOCK, BLOCK, *_PLAIN, "mlp.w12", "mlp.w3"),
    ("norm", "norm"),
)
# There a class token has no position beside registers, and SwiGLU the names of an Mlp.
_TIMM_TOKENS: tuple[Row, ...] = (
    ("reg_token!", _REGISTERS),
    ("patch_embed.proj", PATCHES),
    ("norm", "norm"),
)
_TIMM_REGISTERS: Row = (("cls_token!", "pos_embed!"), (_CLASS_TOKEN, _TABLE), "give_class_position")
_PACKED = within(BLOCK, BLOCK, *_PLAIN[:5], ("mlp.fc1", "mlp.w12"), ("mlp.fc2", "mlp.w3"), _PLAIN[-1])


def attention(names: tuple[str, str, str, str]) -> tuple[Row, ...]:
    """Rows of an attention whose queries, keys, values and output have these names."""
    return ((names[:3], "attn.qkv", "join_qkv"), (names[3], "attn.proj"))


_HUGGINGFACE = (
    ("embeddings.cls_token!", _CLASS_TOKEN),
    ("embeddings.position_embeddings!", _TABLE),
    ("embeddings.register_tokens!", _REGISTERS),
    ("embeddings.patch_embeddings.projection", PATCHES),
    *within(
        "encoder.layer.{k}.",
        BLOCK,
        "norm1",
        *attention((*(f"attention.attention.{name}" for name in ("query", "key", "value")), "attention.output.dense")),
        *attention(tuple(f"attention.{name}_proj" for name in "qkvo")),
        ("layer_scale1.lambda1!", "ls1.gamma!"),
        "norm2",
        "mlp.fc1",
        "mlp.fc2",
        ("mlp.weights_in", "mlp.w12"),
        ("mlp.weights_out", "mlp.w3"),
        (("mlp.gate_proj", "mlp.up_proj"), "mlp.w12", "join"),
        ("mlp.down_proj", "mlp.w3"),
        ("layer_scale2.lambda1!", "ls2.gamma!"),
    ),
    ("layernorm", "norm"),
)
_SCALED = names_like(r"(backbone\.)?blocks\.0\.ls1\.gamma", r"(backbone\.)?pos_embed")


def _is_packed(shapes: Shapes) -> bool:
    """Where an Mlp's second layer takes half of what its first one gives, the first one is that of a gate too."""
    first, second = (shapes.get(f"blocks.0.mlp.{name}.weight", (0, 0)) for name in ("fc1", "fc2"))
    return first[0] > 0 and first[0] == 2 * second[1]


_FACTS = dict(licence="Apache-2.0", trained_on="LVD-142M")
_SIZES = ("small", "base", "large", "giant")
_PLACE = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vit{0}14/dinov2_vit{0}14_"
_FACEBOOK_FILES = (
    *at_address(f"{_PLACE}pretrain.pth", ((f"dinov2_{size}", size[0]) for size in _SIZES), **_FACTS),
    *at_address(f"{_PLACE}reg4_pretrain.pth", ((f"dinov2_reg_{size}", size[0]) for size in _SIZES), **_FACTS),
    # Those of timm that have the authors' names.
    *at_hub("timm/vit_{}_patch14_dinov2.lvd142m", ((f"dinov2_{size}", size) for size in _SIZES[:3]), **_FACTS),
)
_HUGGINGFACE_FILES = (
    *at_hub("facebook/dinov2-{}", ((f"dinov2_{size}", size) for size in _SIZES), **_FACTS),
    *at_hub("facebook/dinov2-with-registers-{}", ((f"dinov2_reg_{size}", size) for size in _SIZES), **_FACTS),
)


def _timm(title: str, *, registers: bool, packed: bool) -> Release:
    tokens = (_TIMM_REGISTERS,) if registers else (("cls_token!", _CLASS_TOKEN), ("pos_embed!", _TABLE))
    body = _PACKED if packed else within(BLOCK, BLOCK, *_PLAIN)

    def is_it(shapes: Shapes) -> bool:
        return _SCALED(shapes) and ("reg_token" in shapes, _is_packed(shapes)) == (registers, packed)

    variants = [name for name in VARIANTS if ("reg" in name, "giant" in name) == (registers, packed)]
    name = "timm/vit_{}_patch14_reg4_dinov2.lvd142m" if registers else "timm/vit_{}_patch14_dinov2.lvd142m"
    return Release(
        title=title,
        publisher="huggingface/pytorch-image-models",
        variants=tuple(variants),
        is_it=is_it,
        backbone=(*tokens, *_TIMM_TOKENS, *body),
        ignored=(r"head\.",),
        files=at_hub(name, ((each, each.rpartition("_")[2]) for each in variants), **_FACTS),
    )


FAMILY = Family(
    name="dinov2",
    variants=tuple(VARIANTS),
    # Without registers and gates the files of timm have the names of the authors' and are read as theirs.
    releases={
        "timm_dinov2_giant": _timm("DINOv2 giant of timm", registers=False, packed=True),
        "timm_dinov2_reg": _timm("DINOv2 with registers of timm", registers=True, packed=False),
        "timm_dinov2_reg_giant": _timm("DINOv2 giant with registers of timm", registers=True, packed=True),
        "facebook_dinov2": Release(
            title="DINOv2 as its authors released it, the backbone, or with a linear classifier",
            publisher="facebookresearch/dinov2",
            hub=("dinov2_vits14_pretrain.pth", "dinov2_vits14_reg4_pretrain.pth"),
            licence="Apache-2.0",
            trained_on="LVD-142M; classifiers: ImageNet-1k",
            is_it=_SCALED,
            prefix="backbone.",
            backbone=_OFFICIAL,
            class_head=(CLASS_HEAD,),
            ignored=(*UNUSED, r"head\."),
            files=_FACEBOOK_FILES,
        ),
        "huggingface_dinov2": Release(
            title="DINOv2 of transformers, the model or the classifier",
            publisher="huggingface/transformers",
            hub=("model.safetensors",),
            is_it=names_like(r"(dinov2(_with_registers)?\.)?encoder\.layer\.0\.layer_scale1\."),
            cleanups=((r"^dinov2(_with_registers)?\.", ""),),
            backbone=_HUGGINGFACE,
            class_head=(("classifier", "class_head.fc"),),
            files=_HUGGINGFACE_FILES,
            ignored=UNUSED,
        ),
    },
    options=dict(patch_size=patch_size, image_size=image_size, num_registers=num_registers),
    varying=unetr.VARYING,
    crop_options=unetr.FAMILY.crop_options,
    crop_reason=unetr.FAMILY.crop_reason,
)
