"""ResNet."""

from densevit.backbones.resnet import VARIANTS
from densevit.weights.family import Family, Release, names_like, within

_STEM, _BLOCK = "stages.0.downsample.", "stages.{i}.blocks.{j}."

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
            backbone=(
                ("conv1", f"{_STEM}proj"),
                ("bn1", f"{_STEM}norm"),
                *within(
                    "layer{i+1}.{j}.",
                    _BLOCK,
                    *((f"conv{n + 1}", f"convs.{n}") for n in range(3)),
                    *((f"bn{n + 1}", f"norms.{n}") for n in range(3)),
                    ("downsample.0", "skip"),
                    ("downsample.1", "skip_norm"),
                ),
            ),
            class_head=(("fc", "class_head.fc"),),
        ),
    },
)
