"""Our backbones under `densevit.*` in mmsegmentation's configs."""

from collections.abc import Callable
from typing import Any

from mmseg.registry.registry import MODELS, Registry
from torch import nn

from densevit.segmentor import create_backbone
from densevit.weights import known_families

# A child of its registry, so that every `densevit.X` is looked up here.
DENSEVIT = Registry("model", parent=MODELS, scope="densevit")
# Name there -> beginning of our names: dict(type="densevit.MiT", variant="b2") is `mit_b2`.
NAMES = {name: prefix for family in known_families().values() for name, prefix in family.mmseg.items()}


def _family(prefix: str) -> Callable[..., nn.Module]:
    def build(*, variant: str, **options: Any) -> nn.Module:
        return create_backbone(f"{prefix}_{variant}", **options)

    return build


DENSEVIT.register_module(name="Backbone", module=create_backbone)
for _name, _prefix in NAMES.items():
    DENSEVIT.register_module(name=_name, module=_family(_prefix))
