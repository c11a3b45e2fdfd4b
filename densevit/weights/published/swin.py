"""Swin, as classifiers and with UPerNet."""

from typing import Any

from densevit.weights.published import PublishedFile, at_address, at_hub

_OF_1K = dict(num_classes=1000, trained_on="ImageNet-1k")
_OF_22K = dict(num_classes=21841, trained_on="ImageNet-22k")
_TUNED = dict(num_classes=1000, trained_on="ImageNet-22k, then ImageNet-1k")
_AT_384 = dict(options=dict(window_size=12))
_TOP = dict(score="{} % top-1 on ImageNet")
_ADE20K = dict(decoder="uper", num_classes=150, score="mIoU {}, one scale", trained_on="ImageNet-1k, then ADE20K")


def _on_timm() -> tuple[PublishedFile, ...]:
    at_224, at_384, mit = "timm/swin_{}_patch4_window7_224.", "timm/swin_{}_patch4_window12_384.", dict(licence="MIT")

    def files(name: str, tops: dict[str, float | None], **facts: Any) -> tuple[PublishedFile, ...]:
        return at_hub(name, ((f"swin_{size}", size, top) for size, top in tops.items()), **_TOP, **mit, **facts)

    small = files(f"{at_224}ms_in1k", dict(tiny=81.2, small=83.2, base=83.5), **_OF_1K, short="imagenet")
    tuned = dict(tiny=80.9, small=83.2, base=85.2)
    return (
        *small,
        *files(f"{at_224}ms_in22k_ft_in1k", dict(large=86.3), **_TUNED, short="imagenet"),
        *files(f"{at_224}ms_in22k_ft_in1k", tuned, **_TUNED),
        *files(f"{at_224}ms_in22k", dict.fromkeys((*tuned, "large")), **_OF_22K),
        *files(f"{at_384}ms_in1k", dict(base=84.5), **_OF_1K, **_AT_384),
        *files(f"{at_384}ms_in22k_ft_in1k", dict(base=86.4, large=87.3), **_TUNED, **_AT_384),
        *files(f"{at_384}ms_in22k", dict(base=None, large=None), **_OF_22K, **_AT_384),
    )


def _of_mmseg() -> tuple[PublishedFile, ...]:
    """The scores are those of OpenMMLab's own runs."""
    place = "https://download.openmmlab.com/mmsegmentation/v0.5/swin/{1}_{2}/{1}_{2}_{3}.pth"
    rows = (
        ("tiny", 7, "in1k", "20210531_112542-e380ad3e", 44.41),
        ("small", 7, "in1k", "20210526_192015-ee2fff1c", 47.72),
        ("base", 7, "in1k", "20210526_192340-593b0e13", 47.99),
        ("base", 7, "in22k", "20210526_211650-762e2178", 50.13),
        ("base", 12, "in1k-384x384", "20210531_132020-05b22ea4", 48.35),
        ("base", 12, "in22k-384x384", "20210531_125459-429057bf", 50.76),
    )
    found = []
    for size, window, begun, stamp, miou in rows:
        name = f"swin-{size}-patch4-window{window}-{begun}-pre_upernet_8xb2-160k_ade20k-512x512"
        run = f"upernet_swin_{size}_patch4_window{window}_512x512_160k_ade20k_pretrain"
        side, of_22k = ("384x384", "224x224")[window == 7], "22k" in begun
        member = (f"swin_{size}", (name, run, f"{side}_{'22K' if of_22k else '1K'}", stamp), miou)
        facts = {**_ADE20K, **(_AT_384 if window == 12 else {})}
        facts |= dict(trained_on="ImageNet-22k, then ADE20K") if of_22k else {}
        found += at_address(place, [member], name="{0}", **facts)
    return tuple(found)


TORCHVISION = at_address(
    "https://download.pytorch.org/models/swin_{1}.pth",
    (
        ("swin_tiny", ("T", "t-704ceda3"), 81.474),
        ("swin_small", ("S", "s-5e29d889"), 83.196),
        ("swin_base", ("B", "b-68c6b09e"), 83.582),
    ),
    name="Swin_{0}_Weights.IMAGENET1K_V1",
    licence="BSD-3-Clause",
    **_TOP,
    **_OF_1K,
)
MICROSOFT = at_address(
    "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_{}_patch4_window7_224.pth",
    ((f"swin_{size}", size, top) for size, top in dict(tiny=81.2, small=83.2, base=83.5).items()),
    **_TOP,
    **_OF_1K,
)
MICROSOFT_UPERNET = at_address(
    "https://github.com/SwinTransformer/storage/releases/download/v1.0.1/upernet_swin_{}_patch4_window7_512x512.pth",
    ((f"swin_{size}", size, miou) for size, miou in dict(tiny=44.51, small=47.64, base=48.13).items()),
    **_ADE20K,
    short="ade20k",
)
HUGGINGFACE = at_hub(
    "microsoft/swin-{}-patch4-window7-224",
    ((f"swin_{size}", size) for size in ("tiny", "small", "base")),
    licence="Apache-2.0",
    **_OF_1K,
)
HUGGINGFACE_UPERNET = at_hub(
    "openmmlab/upernet-swin-{}",
    ((f"swin_{size}", size) for size in ("tiny", "small", "base")),
    licence="MIT",
    **_ADE20K,
)
TIMM, MMSEG = _on_timm(), _of_mmseg()
