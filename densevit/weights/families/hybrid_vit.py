"""Hybrid ViTs, and that in transformers' DPT."""

from dataclasses import replace

from densevit.backbones.hybrid_vit import STEM_STRIDE, VARIANTS
from densevit.weights import flax
from densevit.weights.families.own import huggingface_block
from densevit.weights.families.unetr import VARYING
from densevit.weights.family import Family, Release, Row, Shapes, image_size_on, names_like, within
from densevit.weights.published import HALF, PublishedFile, at_hub

_NUMBERED = [(f"{kind}{n + 1}", f"{kind}s.{n}") for n in range(3) for kind in ("conv", "norm")]
_THEIR_STEM, _UNIT = "patch_embed.backbone.", "stages.{i}.downsample.units.blocks.{j}."
_ABSENT = (r"backbone\.norm\.",)
_STAGES = dict(r=0, s16=3, s32=4)


def _units(theirs: str) -> tuple[Row, ...]:
    """A block of the ResNet."""
    skip = (("downsample.conv", "skip"), ("downsample.norm", "skip_norm"))
    return within(theirs, _UNIT, *_NUMBERED, *skip)


_TUNED = dict(num_classes=1000, trained_on="ImageNet-21k, then ImageNet-1k", normalization=HALF)
_OF_21K = dict(trained_on="ImageNet-21k", normalization=HALF)
_AUGREG = ("vit_tiny_r_s16_p8", "vit_small_r26_s32", "vit_large_r50_s32")


def _files(stages: int) -> tuple[PublishedFile, ...]:
    """Those of timm. R50+B/16 was trained before the others, of which R26+B/32 was not released."""
    sizes = [(name, name) for name in _variants(stages) if name in _AUGREG]
    old = [("vit_base_r50_s16_384", "vit_base_r50_s16_384")] if stages == 3 else []
    older = [("vit_base_r50_s16", "vit_base_r50_s16_224")] if stages == 3 else []
    at_384 = dict(options=dict(image_size=384))
    return (
        *at_hub("timm/{}_224.augreg_in21k_ft_in1k", sizes, **_TUNED, short="imagenet"),
        *at_hub("timm/{}_384.augreg_in21k_ft_in1k", sizes, **_TUNED, **at_384),
        *at_hub("timm/{}_224.augreg_in21k", sizes, **_OF_21K, num_classes=21843),
        *at_hub("timm/{}.orig_in21k_ft_in1k", old, **_TUNED, short="imagenet"),
        *at_hub("timm/{}.orig_in21k", older, **_OF_21K),
    )


def _release(stages: int) -> Release:
    """Those whose ResNet has so many stages; the last of them is in the stage of the transformer, and so is a stem."""
    embed, root = _embed(stages), _THEIR_STEM + ("stem." if stages else "")
    is_it = names_like(rf"{root}conv\.", *([rf"{_THEIR_STEM}stages\.{stages - 1}\."] if stages else []))
    return Release(
        title=f"Hybrid ViT of timm, whose ResNet has {stages or 'no'} stages",
        publisher="huggingface/pytorch-image-models",
        hub=tuple(f"{name}_224" for name in _variants(stages) if not name.endswith("_384")),
        licence="Apache-2.0",
        trained_on="ImageNet-21k, some fine-tuned on ImageNet-1k",
        variants=_variants(stages),
        is_it=lambda shapes: is_it(shapes) and not names_like(rf"{_THEIR_STEM}stages\.{stages}\.")(shapes),
        backbone=(
            *within(root, "stages.0.downsample.", ("conv", "proj"), "norm"),
            *_units(f"{_THEIR_STEM}stages.{{i}}.blocks.{{j}}."),
            ("patch_embed.proj", f"{embed}proj"),
            ("cls_token!", f"{embed}position.tokens.cls_token!"),
            ("pos_embed!", f"{embed}position.pos_embed!"),
            *within("blocks.{k}.", "blocks.{k}.", "norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"),
            ("norm", "norm"),
        ),
        class_head=(("head", "class_head.fc"),),
        ignored=(r"pre_logits\.", r"head\."),
        absent=_ABSENT,
        files=_files(stages),
    )


def _google(stages: int) -> Release:
    unit, names = "block{i+1}/unit{j+1}/", [(str(n + 1), str(n)) for n in range(3)]
    stem, spread = "stages.0.downsample.", dict(operation="spread")
    rows = [
        *flax.layer("conv_root", f"{stem}proj", bias=False),
        *flax.norm("gn_root", f"{stem}norm", **spread),
        *(row for a, b in names for row in flax.layer(f"{unit}conv{a}", f"{_UNIT}convs.{b}", bias=False)),
        *(row for a, b in names for row in flax.norm(f"{unit}gn{a}", f"{_UNIT}norms.{b}", **spread)),
        *flax.layer(f"{unit}conv_proj", f"{_UNIT}skip", bias=False),
        *flax.norm(f"{unit}gn_proj", f"{_UNIT}skip_norm", **spread),
    ]
    is_it = flax.named("conv_root/", *([f"block{stages}/"] if stages else []))
    return replace(
        flax.VIT,
        title=f"Hybrid ViT of its authors, .npz files of flax, whose ResNet has {stages or 'no'} stages",
        variants=_variants(stages),
        is_it=lambda shapes: is_it(shapes) and not flax.named(f"block{stages + 1}/")(shapes),
        backbone=(*rows, *flax.transformer(_embed(stages))),
        absent=_ABSENT,
    )


def _embed(stages: int) -> str:
    """The module that makes patches of the last map."""
    return f"stages.{max(stages - 1, 1)}.downsample."


def _dpt() -> Release:
    """The backbone of DPT-hybrid, which is R50+B/16."""
    bit, embed = "embeddings.backbone.bit.", "stages.2.downsample."
    return Release(
        title="The hybrid ViT in DPT of transformers",
        publisher="huggingface/transformers",
        hub=("model.safetensors", "pytorch_model.bin"),
        variants=_variants(3),
        is_it=names_like(r"(dpt\.)?embeddings\.backbone\.bit\.embedder\."),
        prefix="dpt.",
        backbone=(
            *within(f"{bit}embedder.", "stages.0.downsample.", ("convolution", "proj"), "norm"),
            *_units(f"{bit}encoder.stages.{{i}}.layers.{{j}}."),
            ("embeddings.projection", f"{embed}proj"),
            ("embeddings.cls_token!", f"{embed}position.tokens.cls_token!"),
            ("embeddings.position_embeddings!", f"{embed}position.pos_embed!"),
            *huggingface_block("encoder.layer.{k}.", "blocks.{k}.", on_hub="attention"),
            ("layernorm", "norm"),
        ),
        ignored=(r"neck\.", r"head\.", r"auxiliary_head\.", r"pooler\."),
        absent=_ABSENT,
    )


def _variants(stages: int) -> tuple[str, ...]:
    return tuple(name for name, options in VARIANTS.items() if len(options["depths"]) == stages)


def _image_size(shapes: Shapes) -> int | list[int] | None:
    """The image for which the table of positions is made, where that is a square or a cube of cells."""
    embed = next(name.removesuffix("position.pos_embed") for name in shapes if name.endswith("position.pos_embed"))
    stages = {name.split(".")[2] for name in shapes if ".downsample.units." in name}
    stride = STEM_STRIDE * 2 ** max(len(stages) - 1, 0) * shapes[f"{embed}proj.weight"][2]
    here = {name.replace(embed, "backbone.stages.0.downsample."): shape for name, shape in shapes.items()}
    return image_size_on(stride)(here)


FAMILY = Family(
    name="hybrid_vit",
    variants=tuple(VARIANTS),
    releases={
        **{f"timm_hybrid_{name}": _release(stages) for name, stages in _STAGES.items()},
        **{f"google_hybrid_{name}": _google(stages) for name, stages in _STAGES.items()},
        "huggingface_dpt_hybrid": _dpt(),
    },
    options=dict(image_size=_image_size),
    varying=VARYING,
)
