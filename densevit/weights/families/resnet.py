"""ResNet."""

from densevit.backbones.resnet import VARIANTS
from densevit.weights.family import Family, Release, names_like, within
from densevit.weights.published import at_address, at_hub

STEM = (("conv1", "stages.0.downsample.proj"), ("bn1", "stages.0.downsample.norm"))
BLOCK = (
    *((f"conv{n + 1}", f"convs.{n}") for n in range(3)),
    *((f"bn{n + 1}", f"norms.{n}") for n in range(3)),
    ("downsample.0", "skip"),
    ("downsample.1", "skip_norm"),
)

_OF_1K = dict(num_classes=1000, trained_on="ImageNet-1k", score="{} % top-1 on ImageNet")
_DEPTHS = (18, 34, 50, 101, 152)
_FIRST = ("f37072fd", "b627a593", "0676ba61", "63fe2227", "394f9c45")  # digits of torchvision's files, and its scores
_FIRST_TOP = (69.758, 73.314, 76.13, 77.374, 78.312)
_SECOND = {50: ("11ad3fa6", 80.858), 101: ("cd907fc2", 81.886), 152: ("f82ba261", 82.284)}
_ADDRESS = "https://download.pytorch.org/models/resnet{0}-{1}.pth"
_FILES = (
    *at_address(
        _ADDRESS,
        ((f"resnet{n}", (str(n), digits), top) for n, digits, top in zip(_DEPTHS, _FIRST, _FIRST_TOP, strict=True)),
        name="ResNet{0}_Weights.IMAGENET1K_V1",
        short="imagenet",
        **_OF_1K,
    ),
    *at_address(
        _ADDRESS,
        ((f"resnet{n}", (str(n), digits), top) for n, (digits, top) in _SECOND.items()),
        name="ResNet{0}_Weights.IMAGENET1K_V2",
        **_OF_1K,
    ),
    *at_hub("timm/resnet{}.tv_in1k", ((f"resnet{n}", str(n)) for n in _DEPTHS), **_OF_1K),
    *at_hub("timm/resnet{}.a1_in1k", ((f"resnet{n}", str(n)) for n in _DEPTHS), licence="Apache-2.0", **_OF_1K),
)

FAMILY = Family(
    name="resnet",
    variants=tuple(VARIANTS),
    releases={
        "torchvision_resnet": Release(
            title="ResNet of torchvision, whose names timm has as well",
            publisher="pytorch/vision, huggingface/pytorch-image-models",
            licence="BSD-3-Clause",
            trained_on="ImageNet-1k",
            is_it=names_like(r"conv1\.weight$", r"layer1\.0\.conv1\.", r"layer1\.0\.bn2\."),
            backbone=(*STEM, *within("layer{i+1}.{j}.", "stages.{i}.blocks.{j}.", *BLOCK)),
            class_head=(("fc", "class_head.fc"),),
            files=_FILES,
        ),
    },
)
