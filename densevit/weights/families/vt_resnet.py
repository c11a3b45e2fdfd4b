"""VT-ResNet. No weights of it are public: ResNet's start the stages that it shares, where the user names the source."""

from dataclasses import replace
from itertools import chain

from densevit.backbones.vt_resnet import VARIANTS
from densevit.weights.families.resnet import BLOCK, STEM
from densevit.weights.families.resnet import FAMILY as RESNET
from densevit.weights.family import Family, within

_SHARED = 3  # stages

FAMILY = Family(
    name="vt_resnet",
    variants=tuple(VARIANTS),
    releases={
        "torchvision_vt_resnet": replace(
            RESNET.releases["torchvision_resnet"],
            title="ResNet of torchvision without its last stage, which VT-ResNet replaces",
            is_it=lambda _: False,  # its files are those of ResNet
            backbone=(
                *STEM,
                *chain(*(within(f"layer{i + 1}.{{j}}.", f"stages.{i}.blocks.{{j}}.", *BLOCK) for i in range(_SHARED))),
            ),
            class_head=(),
            files=(),
            ignored=(rf"layer{_SHARED + 1}\.", r"fc\."),
            absent=(rf"backbone\.stages\.{_SHARED}\.",),
        )
    },
    varying=r"\.projector\.",  # the last is not in classifiers
)
