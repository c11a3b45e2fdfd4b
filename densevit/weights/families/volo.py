"""VOLO. Its authors' files and timm's have the same names."""

from math import prod

from densevit.backbones.volo import STRIDES, VARIANTS
from densevit.weights.family import STEM, Family, Release, Row, Shapes, names_like, within
from densevit.weights.published import at_hub

_STEM, _POSITION = "stages.0.downsample.", "stages.1.downsample.position.pos_embed"
_COMMON = ("norm1", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")


def _stages() -> tuple[Row, ...]:
    """Their modules after the outlookers are counted with the downsampling among them."""
    rows = within("network.0.{j}.", "stages.0.blocks.{j}.", "attn.v", "attn.attn", *_COMMON)
    for n in (1, 2, 3):
        rows += within(f"network.{n + 1}.{{j}}.", f"stages.{n}.blocks.{{j}}.", "attn.qkv", *_COMMON)
    return rows


def _image_size(shapes: Shapes) -> int | None:
    """The image for which the table of positions is made, where that is a square or a cube."""
    cells, axes = shapes[f"backbone.{_POSITION}"][1], len(shapes[STEM]) - 2
    side = round(cells ** (1 / axes))
    return side * STRIDES[-1] if side**axes == cells else None


def _window(shapes: Shapes) -> tuple[int, ...] | None:
    """Cells of an outlooker's window, by the weights of one of its heads of 32 channels."""
    rows, dim = shapes["backbone.stages.0.blocks.0.attn.attn.weight"]
    axes = len(shapes[STEM]) - 2
    return next((w for w in ((3,) * axes, (1, *(3,) * (axes - 1))) if prod(w) ** 2 * dim == 32 * rows), None)


_FILES = tuple(
    file
    for side, tops in (
        (224, dict(d1=84.2, d2=85.2, d3=85.4, d4=85.7, d5=86.1)),
        (384, dict(d1=85.2, d2=86.0)),
        (448, dict(d3=86.3, d4=86.8, d5=87.0)),
        (512, dict(d5=87.1)),
    )
    for size, top in tops.items()
    for file in at_hub(
        f"timm/volo_{{}}_{side}.sail_in1k",
        [(f"volo_{size}", size, top)],
        num_classes=1000,
        trained_on="ImageNet-1k",
        score="{} % top-1 on ImageNet",
        options=dict(image_size=side) if side > 224 else {},
        short=None if side > 224 else "imagenet",
    )
)

FAMILY = Family(
    name="volo",
    variants=tuple(VARIANTS),
    releases={
        "sail_volo": Release(
            title="VOLO of its authors and of timm",
            publisher="sail-sg/volo, huggingface/pytorch-image-models",
            hub=("d1_224_84.2.pth.tar", "d5_512_87.07.pth.tar", "volo_d1_224"),
            licence="Apache-2.0",
            trained_on="ImageNet-1k",
            is_it=names_like(r"network\.0\.0\.attn\.attn\.", r"patch_embed\.conv\.0\."),
            backbone=(
                *within(
                    "patch_embed.",
                    _STEM,
                    *(("conv.0", "proj"), ("conv.3", "convs.0"), ("conv.6", "convs.1"), ("proj", "patches.proj")),
                    *((f"conv.{3 * n + 1}", f"norms.{n}") for n in range(3)),
                ),
                ("network.1.proj", "stages.1.downsample.proj"),
                ("pos_embed!", f"{_POSITION}!", "flat_table"),
                *_stages(),
            ),
            class_head=(
                ("cls_token!", "class_head.cls_token!"),
                *within("post_network.{j}.", "class_head.class_blocks.{j}.", "attn.q", "attn.kv", *_COMMON),
                ("norm", "class_head.norm_head"),
                ("head", "class_head.fc"),
                ("aux_head", "class_head.fc_cells"),
            ),
            files=_FILES,
        )
    },
    options=dict(image_size=_image_size, window=_window),
    varying=r"\.pos_embed$|\.attn\.attn\.",
)
