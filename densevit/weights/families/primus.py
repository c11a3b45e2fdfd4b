"""Primus, as nnU-Net trains it: whole models of all three versions, with the decoder of the paper."""

from densevit.backbones.primus import VARIANTS
from densevit.weights.families import unetr
from densevit.weights.families.unetr import POSITION
from densevit.weights.family import STEM, Family, Release, Row, Shapes, image_size, names_like, patch_size, within

_EMBED, _BLOCK = "stages.0.downsample.", "blocks.{k}."
_SEPARATE = tuple(f"attn.{name}_proj.weight!" for name in "qkv")
_ENCODER: tuple[Row, ...] = (
    ("eva.pos_embed!", f"{POSITION}pos_embed!"),
    *within(
        f"eva.{_BLOCK}",
        _BLOCK,
        "norm1",
        (_SEPARATE, "attn.qkv.weight!", "join_qkv"),
        (("attn.q_proj.bias!", "attn.v_proj.bias!"), "attn.qv_bias!", "join"),
        "attn.norm",
        "attn.proj",
        ("gamma_1!", "ls1.gamma!"),
        "norm2",
        (("mlp.fc1_g", "mlp.fc1_x"), "mlp.w12", "join"),
        "mlp.norm",
        ("mlp.fc2", "mlp.w3"),
        ("gamma_2!", "ls2.gamma!"),
    ),
    ("eva.norm", "norm"),
)
_DECODER: tuple[Row, ...] = (
    *within("up_projection.decode.", "head.", ("0.0", "ups.0"), ("0.1", "norms.0"), ("1.0", "ups.1")),
    *within("up_projection.decode.", "head.", ("1.1", "norms.1"), ("2", "ups.2")),
)


def _stem_block(theirs: str, ours: str, *, shortcut: int) -> tuple[Row, ...]:
    """`shortcut` is the place of its convolution, which comes after a mean where the block has a stride."""
    pairs = [(f"conv{n}.conv", f"conv{n}") for n in (1, 2)] + [(f"conv{n}.norm", f"norm{n}") for n in (1, 2)]
    skip = [(f"skip.{shortcut}.conv", "skip"), (f"skip.{shortcut}.norm", "skip_norm")]
    return within(f"down_projection.{theirs}.blocks.0.", f"{_EMBED}{ours}.", *pairs, *skip)


_PATCHES: tuple[Row, ...] = (("down_projection.proj", f"{_EMBED}proj"),)
_STEM: tuple[Row, ...] = (
    *_stem_block("stem", "blocks.0", shortcut=0),
    *_stem_block("stages.{i}", "blocks.{i+1}", shortcut=1),
    ("down_projection.final_proj", f"{_EMBED}proj"),
    ("down_projection.proj_to_tokens.{i}", f"{_EMBED}skips.{{i}}"),
    ("down_projection.scale_proj_to_tokens.{i}!", f"{_EMBED}scales.{{i}}!"),
)
_WITH_STEM = tuple(name for name, options in VARIANTS.items() if "stem_dims" in options)


def _release(*, stem: bool) -> Release:
    return Release(
        title=f"Primus of nnU-Net, {'the second and third version' if stem else 'the first version'}, whole",
        publisher="MIC-DKFZ/dynamic-network-architectures",
        hub=("checkpoint_final.pth",),
        licence="Apache-2.0",
        variants=_WITH_STEM if stem else tuple(name for name in VARIANTS if name not in _WITH_STEM),
        is_it=names_like(r"eva\.blocks\.0\.attn\.q_proj\.", rf"down_projection\.{'stem' if stem else 'proj'}\."),
        backbone=(*(_STEM if stem else _PATCHES), *_ENCODER),
        decoder=_DECODER,
        # Convolutions and norms of the stem have a second name each.
        ignored=(r"mask_token$", r"down_projection\..*\.all_modules\."),
        absent=(r"backbone\.stages\.0\.downsample\.position\.tokens\.reg_token",),
    )


def _as_patches(shapes: Shapes) -> Shapes:
    """With the cells of 8 voxels of the stem's tokens where patches have theirs."""
    shape = shapes[STEM]
    return {**shapes, STEM: (*shape[:2], *[8 if n == 1 else n for n in shape[2:]])}


FAMILY = Family(
    name="primus",
    variants=tuple(VARIANTS),
    releases={"nnunet_primus": _release(stem=False), "nnunet_primus_v2": _release(stem=True)},
    options=dict(
        patch_size=lambda shapes: patch_size(_as_patches(shapes)),
        image_size=lambda shapes: image_size(_as_patches(shapes)),
    ),
    varying=rf"{unetr.VARYING}|downsample\.blocks\.0\.(conv1|skip)\.weight",
    crop_options=unetr.FAMILY.crop_options,
    crop_reason=unetr.FAMILY.crop_reason,
)
