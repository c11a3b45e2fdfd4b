"""What tensors are called: by wrappers around a model, by our stages, in the model that is to be filled."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

NECK = "backbone.neck."  # how names of a neck's tensors begin
OF_TEXTS = ("text.", "logit_scale")
_STAGED = re.compile(r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.(.+)")
_COUNTED = re.compile(r"backbone\.blocks\.(\d+)\.(.+)")
LEVEL_NORM = r"backbone\.out_norms\.\d+\."  # of what leaves a stage
UNREAD = (LEVEL_NORM, r"backbone\.stages\.\d+\.blocks\.\d+\.projector\.")  # what classifiers may lack
CLASS_TOKENS = (r"backbone\.stages\.\d+\.downsample\.position\.(tokens\.|cls_token|pos_embed_class)",)
_LEVEL_NORM = re.compile(rf"^{LEVEL_NORM}")


def plain_names(state: Mapping[str, Any]) -> dict[str, str]:
    """Names without the `module.` of data-parallel training, torch.compile's `_orig_mod.` and the `model.` of a model
    inside one of Lightning -> names as they are."""
    return {name.replace("_orig_mod.", "").removeprefix("module.").removeprefix("model."): name for name in state}


def is_like(name: str, patterns: Iterable[str]) -> bool:
    """True when the name begins with one of the patterns."""
    return any(re.match(pattern, name) for pattern in patterns)


def is_backbone(state: Iterable[str]) -> bool:
    """True when every name is one of a backbone's."""
    return all(name.startswith("backbone.") for name in state)


def is_neck(name: str) -> bool:
    """True for a tensor of a backbone's neck."""
    return name.startswith(NECK)


def is_classifier(state: Iterable[str]) -> bool:
    """True when some name is one of a classifier's head."""
    return any(name.startswith("class_head.") for name in state)


def is_of_texts(name: str) -> bool:
    """True for a tensor that only a CLIP has: of its encoder of texts, or its temperature."""
    return name.startswith(OF_TEXTS)


@dataclass(frozen=True)
class Target:
    """What is to be filled: a model's tensors by the names that they have in a `Segmentor`, its modules by path."""

    tensors: dict[str, Tensor]
    modules: dict[str, nn.Module]

    @property
    def classifies(self) -> bool:
        """Whether the model is a `Classifier`, and no segmentor or backbone."""
        return is_classifier(self.tensors)

    @property
    def reads_texts(self) -> bool:
        """Whether the model is a CLIP."""
        return any(map(is_of_texts, self.tensors))

    def owner(self, name: str, *, levels: int = 1) -> nn.Module | None:
        """The module that holds the tensor of this name, or the one that holds that module (`levels=2`), ..."""
        return self.modules.get(name.rsplit(".", levels)[0])


def target_of(model: nn.Module) -> Target:
    """Names are without what wrappers put before them, and with `backbone.`."""
    tensors, modules = model.state_dict(), dict(model.named_modules())
    if any(tensor.is_meta for tensor in tensors.values()):
        raise ValueError("the model is on the meta device, which holds no values; call its to_empty(device=...) first")
    prefix = "" if any(name.startswith("backbone.") for name in plain_names(tensors)) else "backbone."
    return Target(
        {prefix + plain: tensors[name] for plain, name in plain_names(tensors).items()},
        {prefix + plain: modules[path] for plain, path in plain_names(modules).items()},
    )


def to_stages(state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Give blocks that are counted through (`backbone.blocks.{k}`) the stages that a model with these names has.

    The final norm (`backbone.norm`) goes to every level that has one (`backbone.out_norms.{i}`).
    """
    names = list(names)
    places = sorted({(int(m[1]), int(m[2])) for name in names if (m := _STAGED.fullmatch(name))})

    def staged(name: str) -> list[str]:
        m = _COUNTED.fullmatch(name)
        if m is not None and int(m[1]) < len(places):
            i, j = places[int(m[1])]
            return [f"backbone.stages.{i}.blocks.{j}.{m[2]}"]
        levels = names if name.startswith("backbone.norm.") else []
        return [level for level in levels if _LEVEL_NORM.sub("backbone.norm.", level) == name] or [name]

    return {ours: tensor for name, tensor in state.items() for ours in staged(name)}


def count_through(state: Mapping[str, Any], *, norm: bool = False) -> dict[str, Any]:
    """The inverse of `to_stages`: `backbone.stages.{i}.blocks.{j}` becomes `backbone.blocks.{k}`.

    With `norm`, the levels' norms, which are then all the same, become `backbone.norm`.
    """
    found = {name: m for name in state if (m := _STAGED.fullmatch(name))}
    places = sorted({(int(m[1]), int(m[2])) for m in found.values()})
    counted = {name: f"backbone.blocks.{places.index((int(m[1]), int(m[2])))}.{m[3]}" for name, m in found.items()}
    if norm:
        counted |= {name: _LEVEL_NORM.sub("backbone.norm.", name) for name in state if name not in found}
    return {counted.get(name, name): tensor for name, tensor in state.items()}
