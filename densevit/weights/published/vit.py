"""ViT, DeiT and DINO: of timm, of transformers, of DINO's authors."""

from densevit.weights.published import HALF, PublishedFile, at_address, at_hub

_APACHE = dict(licence="Apache-2.0")
_TUNED = dict(**_APACHE, num_classes=1000, trained_on="ImageNet-21k, then ImageNet-1k", normalization=HALF)
_OF_21K = dict(**_APACHE, trained_on="ImageNet-21k", normalization=HALF)
_OF_1K = dict(**_APACHE, num_classes=1000, trained_on="ImageNet-1k")
_BY_DINO = dict(**_APACHE, trained_on="ImageNet-1k without labels")
_TOP = dict(score="{} % top-1 on ImageNet")
_SIZES = ("tiny", "small", "base", "large")
_DEIT = (  # % on ImageNet, of the authors
    ("deit_tiny", "tiny_patch16_224", 72.2),
    ("deit_small", "small_patch16_224", 79.9),
    ("deit_base", "base_patch16_224", 81.8),
    ("deit_base_384", "base_patch16_384", 82.9),
    ("deit_tiny_distilled", "tiny_distilled_patch16_224", 74.5),
    ("deit_small_distilled", "small_distilled_patch16_224", 81.2),
    ("deit_base_distilled", "base_distilled_patch16_224", 83.4),
    ("deit_base_distilled_384", "base_distilled_patch16_384", 85.2),
)
_DIGITS = ("a1311bcf", "cd65a155", "b5f2ef4d", "8de9b5d1", "b40b3cf7", "649709d9", "df68dfff", "d0272ac0")
_DINO = (  # % of a linear classifier on ImageNet, of the authors
    ("vit_small", "small", "deitsmall", 16, 77.0),
    ("vit_small", "small", "deitsmall", 8, 79.7),
    ("vit_base", "base", "vitbase", 16, 78.2),
    ("vit_base", "base", "vitbase", 8, 80.1),
)


def _augreg() -> tuple[PublishedFile, ...]:
    """The ViTs of Google's own training, as timm converted them."""
    of_16 = [(f"vit_{size}", size) for size in _SIZES]
    of_32, of_8 = [("vit_small", "small"), ("vit_base", "base")], [("vit_base", "base")]
    at_384, by_32, by_8 = dict(image_size=384), dict(patch_size=32), dict(patch_size=8)
    return (
        *at_hub("timm/vit_{}_patch16_224.augreg_in21k_ft_in1k", of_16, **_TUNED, short="imagenet"),
        *at_hub("timm/vit_{}_patch16_384.augreg_in21k_ft_in1k", of_16, **_TUNED, options=at_384),
        *at_hub("timm/vit_{}_patch16_224.augreg_in21k", of_16, **_OF_21K, num_classes=21843),
        *at_hub("timm/vit_{}_patch32_224.augreg_in21k_ft_in1k", of_32, **_TUNED, options=by_32),
        *at_hub("timm/vit_{}_patch8_224.augreg_in21k_ft_in1k", of_8, **_TUNED, options=by_8),
        *at_hub("timm/vit_{}_patch14_224.orig_in21k", [("vit_huge", "huge")], **_OF_21K),
    )


TIMM = (
    *_augreg(),
    *at_hub("timm/deit_{}.fb_in1k", _DEIT, **_OF_1K, **_TOP, short="imagenet"),
    *at_address(
        "https://dl.fbaipublicfiles.com/deit/deit_{}-{}.pth",
        ((name, (word, digits), top) for (name, word, top), digits in zip(_DEIT, _DIGITS, strict=True)),
        **_OF_1K,
        **_TOP,
    ),
    *at_hub(
        "timm/vit_{}_patch16_224.mae",
        (("vit_base", "base"), ("vit_large", "large")),
        licence="CC-BY-NC-4.0",
        trained_on="ImageNet-1k without labels",
    ),
)
DINO = tuple(
    file
    for name, _, word, patch, top in _DINO
    for file in at_address(
        "https://dl.fbaipublicfiles.com/dino/dino_{0}{1}_pretrain/dino_{0}{1}_pretrain.pth",
        [(name, (word, str(patch)), top)],
        options=dict(patch_size=patch, resizing="dino") if patch != 16 else dict(resizing="dino"),
        score="{} % top-1 of a linear classifier on ImageNet",
        **_BY_DINO,
    )
)
HUGGINGFACE = (
    *at_hub("google/vit-{}-patch16-224", [("vit_base", "base")], **_TUNED),
    *at_hub("google/vit-{}-patch16-224-in21k", [("vit_base", "base")], **_OF_21K),
)
HUGGINGFACE_DISTILLED = at_hub(
    "facebook/deit-{}-distilled-patch16-224", [("deit_base_distilled", "base", 83.4)], **_OF_1K, **_TOP
)
