"""What is to be filled: a model's own tensors and modules, under the names that they have in a `Segmentor`."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from densevit.weights.rename import plain_names


@dataclass(frozen=True)
class Target:
    """The model's tensors by name, and its modules by path."""

    tensors: dict[str, Tensor]
    modules: dict[str, nn.Module]

    @property
    def is_backbone(self) -> bool:
        """True for a backbone alone."""
        return is_backbone(self.tensors)

    def owner(self, name: str, *, levels: int = 1) -> nn.Module | None:
        """The module that holds the tensor of this name, or the one that holds that module (`levels=2`), ..."""
        return self.modules.get(name.rsplit(".", levels)[0])


def target_of(model: nn.Module) -> Target:
    """Names are without what data-parallel training and torch.compile put before them, and with `backbone.`."""
    own = model.state_dict()
    tensors = {plain: own[name] for plain, name in plain_names(own).items()}
    if any(tensor.is_meta for tensor in tensors.values()):
        raise ValueError("the model is on the meta device, which holds no values; call its to_empty(device=...) first")
    found = dict(model.named_modules())
    modules = {plain.removesuffix("."): found[path] for plain, path in _plain_paths(found).items()}
    prefix = "" if any(name.startswith("backbone.") for name in tensors) else "backbone."
    return Target(
        {prefix + name: tensor for name, tensor in tensors.items()},
        {prefix + path: module for path, module in modules.items()},
    )


def is_backbone(state: Mapping[str, Tensor]) -> bool:
    """True when every name is one of a backbone's."""
    return all(name.startswith("backbone.") for name in state)


def _plain_paths(modules: Mapping[str, nn.Module]) -> dict[str, str]:
    names = {f"{path}.": path for path in modules}
    return {plain: names[name] for plain, name in plain_names(names).items()}
