"""ResNet."""

from densevit.backbones.resnet import VARIANTS
from densevit.weights.family import Family, Release, names_like, within

STEM = (("conv1", "stages.0.downsample.proj"), ("bn1", "stages.0.downsample.norm"))
BLOCK = (
    *((f"conv{n + 1}", f"convs.{n}") for n in range(3)),
    *((f"bn{n + 1}", f"norms.{n}") for n in range(3)),
    ("downsample.0", "skip"),
    ("downsample.1", "skip_norm"),
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
        ),
    },
)
