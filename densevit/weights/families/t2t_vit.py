"""T2T-ViT. No other package that we compare with has it: the names are those of the authors' code."""

from densevit.backbones.t2t_vit import PATCH, VARIANTS
from densevit.weights.families.unetr import POSITION, VARYING
from densevit.weights.family import Family, Release, Row, image_size_on, names_like, within
from densevit.weights.published import PublishedFile, at_address

_STEM, _BLOCK = "stages.0.downsample.", "blocks.{k}."


def _step(theirs: str, ours: str, kernel: int, names: tuple[Row | str, ...], linear: str) -> tuple[Row, ...]:
    """A soft split's norm and linear layer read channels first, then the window: they are its weights as they are."""
    windows = f"windows_of_{kernel}"
    return (
        (f"{theirs}norm1", f"{ours}norm1", windows),
        (f"{theirs}{linear}.weight!", f"{ours}proj.weight!", windows),
        (f"{theirs}{linear}.bias!", f"{ours}proj.bias!"),
        *within(theirs, ours, "norm2", *names),
    )


_TOPS = {"t2t_vit_7": 71.7, "t2t_vit_10": 75.2, "t2t_vit_12": 76.5, "t2t_vit_14": 81.5, "t2t_vit_19": 81.9}
_TOPS |= {"t2t_vit_24": 82.3, "t2t_vit_t_14": 81.7, "t2t_vit_t_19": 82.4, "t2t_vit_t_24": 82.6}  # % on ImageNet


def _files(variants: tuple[str, ...]) -> tuple[PublishedFile, ...]:
    """Their names begin with the score."""
    words = {name: name.removeprefix("t2t_vit_").replace("t_", "t").rjust(3, "_") for name in variants}
    names = {name: f"{_TOPS[name]}_T2T_ViT{'t' if 't' in word else ''}_" for name, word in words.items()}
    return at_address(
        "https://github.com/yitu-opensource/T2T-ViT/releases/download/main/{}.pth.tar",
        ((name, names[name] + name.rpartition("_")[2], _TOPS[name]) for name in variants),
        num_classes=1000,
        trained_on="ImageNet-1k",
        score="{} % top-1 on ImageNet",
        short="imagenet",
    )


def _release(
    title: str, linear: str, *names: Row | str, variants: tuple[str, ...], mark: str, hub: tuple[str, ...]
) -> Release:
    return Release(
        title=title,
        publisher="yitu-opensource/T2T-ViT",
        hub=hub,
        licence="BSD-3-Clause-Clear",
        trained_on="ImageNet-1k",
        variants=variants,
        is_it=names_like(rf"tokens_to_token\.attention1\.{mark}"),
        backbone=(
            ("cls_token!", f"{POSITION}tokens.cls_token!"),
            ("pos_embed!", f"{POSITION}pos_embed!"),
            *_step("tokens_to_token.attention1.", _STEM, 7, names, linear),
            *_step("tokens_to_token.attention2.", f"{_STEM}second.", 3, names, linear),
            ("tokens_to_token.project.weight!", f"{_STEM}patches.proj.weight!", "windows_of_3"),
            ("tokens_to_token.project.bias!", f"{_STEM}patches.proj.bias!"),
            *within(_BLOCK, _BLOCK, "norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"),
            ("norm", "norm"),
        ),
        class_head=(("head", "class_head.fc"),),
        files=_files(variants),
    )


_EACH_TO_EACH = tuple(name for name, options in VARIANTS.items() if "performer" in options)

FAMILY = Family(
    name="t2t_vit",
    variants=tuple(VARIANTS),
    releases={
        "yitu_t2t_vit": _release(
            "T2T-ViT of its authors, whose first tokens attend by random features",
            "kqv",
            *(("w!", "attend.w!"), ("proj", "out"), ("mlp.0", "mlp.fc1"), ("mlp.2", "mlp.fc2")),
            variants=tuple(name for name in VARIANTS if name not in _EACH_TO_EACH),
            mark=r"w$",
            hub=("81.5_T2T_ViT_14.pth.tar",),
        ),
        "yitu_t2t_vit_t": _release(
            "T2T-ViT_t of its authors, whose first tokens attend each to each",
            "attn.qkv",
            *(("attn.proj", "out"), "mlp.fc1", "mlp.fc2"),
            variants=_EACH_TO_EACH,
            mark=r"attn\.qkv\.",
            hub=("81.7_T2T_ViTt_14.pth.tar",),
        ),
    },
    options=dict(image_size=image_size_on(PATCH)),
    varying=rf"{VARYING}|downsample\.norm1\.",  # the first norm is of all input channels
)
