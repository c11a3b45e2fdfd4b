"""XCiT."""

from densevit.backbones.xcit import VARIANTS
from densevit.weights.family import FEATURE2PYRAMID, Family, Release, Row, names_like, within
from densevit.weights.names import NECK
from densevit.weights.published import PublishedFile, at_address, at_hub

_STEM, _CLASS_BLOCK = "stages.0.downsample.", "class_head.class_blocks.{j}."
_DOUBLINGS = 4  # of the largest stem
_NAMES = ("norm1", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2", ("gamma1!", "ls1.gamma!"), ("gamma2!", "ls2.gamma!"))


def _stem() -> tuple[Row, ...]:
    """Convolution and norm, which a GELU keeps apart from the next."""
    rows: list[Row] = [("patch_embed.proj.0.0", f"{_STEM}proj")]
    for n in range(_DOUBLINGS):
        rows += [(f"patch_embed.proj.{2 * n}.0", f"{_STEM}convs.{n - 1}")] if n else []
        rows += [(f"patch_embed.proj.{2 * n}.1", f"{_STEM}norms.{n}")]
    return tuple(rows)


# % on ImageNet by patches of 16 and 8: of 224 pixels; of 224 and of 384 from a teacher.
_TOPS = dict(
    nano_12=((69.9, 72.2, 75.4), (73.8, 76.3, 77.8)),
    tiny_12=((77.1, 78.6, 80.9), (79.7, 81.2, 82.4)),
    tiny_24=((79.4, 80.4, 82.6), (81.9, 82.6, 83.7)),
    small_12=((82.0, 83.3, 84.7), (83.4, 84.2, 85.1)),
    small_24=((82.6, 83.9, 85.1), (83.9, 84.9, 85.6)),
    medium_24=((82.7, 84.3, 85.4), (83.7, 85.1, 85.8)),
    large_24=((82.9, 84.9, 85.8), (84.4, 85.4, 86.0)),
)
_KINDS = (("224", "in1k", ""), ("224", "dist_in1k", "_dist"), ("384", "dist_in1k", "_dist"))


def _files(*, on_timm: bool) -> tuple[PublishedFile, ...]:
    found: list[PublishedFile] = []
    for size, rows in _TOPS.items():
        for patch, tops in zip((16, 8), rows, strict=True):
            for n, top in enumerate(tops):
                side, tag, dist = _KINDS[n]
                member = (f"xcit_{size}_p{patch}", f"xcit_{size}_p{patch}_{side}", top)
                facts = dict(num_classes=1000, trained_on="ImageNet-1k", score="{} % top-1 on ImageNet")
                place = f"https://dl.fbaipublicfiles.com/xcit/{{}}{dist}.pth"
                short = dict(short=None if n else "imagenet")
                files = at_hub(f"timm/{{}}.fb_{tag}", [member], **facts, **short)
                found += files if on_timm else at_address(place, [member], **facts)
    return tuple(found)


def _release(title: str, publisher: str, position: str, class_attention: tuple[Row, ...]) -> Release:
    return Release(
        title=title,
        publisher=publisher,
        files=_files(on_timm=position == "pos_embed"),
        hub=("xcit_nano_12_p16_224.pth", "xcit_small_12_p8_384_dist.pth"),
        licence="Apache-2.0",
        trained_on="ImageNet-1k",
        is_it=names_like(rf"(backbone\.)?{position}\.token_projection\.", r"(backbone\.)?blocks\.0\.local_mp\."),
        cleanups=((r"^backbone\.", ""),),  # of the authors' segmentation, whose heads we have not
        ignored=(r"decode_head\.", r"auxiliary_head\.", r"head\.(mlp|last_layer)\."),  # the last of DINO
        absent=(NECK.replace(".", r"\."),),
        backbone=(
            *_stem(),
            *FEATURE2PYRAMID,
            (f"{position}.token_projection", f"{_STEM}position.token_projection", "pointwise"),
            *within(
                "blocks.{k}.",
                "blocks.{k}.",
                *("attn.qkv", ("attn.temperature!", "attn.attend.temperature!")),
                *("norm3", ("gamma3!", "ls3.gamma!"), "local_mp.conv1", "local_mp.bn", "local_mp.conv2"),
                *_NAMES,
            ),
        ),
        class_head=(
            ("cls_token!", "class_head.cls_token!"),
            *within("cls_attn_blocks.{j}.", _CLASS_BLOCK, *class_attention, *_NAMES),
            ("norm", "class_head.norm_head"),
            ("head", "class_head.fc"),
        ),
    )


FAMILY = Family(
    name="xcit",
    variants=tuple(VARIANTS),
    releases={
        "facebook_xcit": _release(
            "XCiT as its authors released it, and DINO's",
            "facebookresearch/xcit, facebookresearch/dino",
            "pos_embeder",
            (("attn.qkv", ("attn.q", "attn.kv"), "split_qkv"),),
        ),
        "timm_xcit": _release(
            "XCiT of timm",
            "huggingface/pytorch-image-models",
            "pos_embed",
            ("attn.q", (("attn.k", "attn.v"), "attn.kv", "join")),
        ),
    },
    varying=r"(?!)",  # no tensor: only where stages end, by `taps`
)
