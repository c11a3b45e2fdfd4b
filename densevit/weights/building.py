"""Models built for their names and shapes alone, with no values in them."""

from collections import Counter
from collections.abc import Collection
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

_INITIALISERS = {function for name, function in vars(nn.init).items() if name.endswith("_") and callable(function)}


class OtherModelError(Exception):
    """The model that is being built is not the one that is looked for."""


class Building(TorchFunctionMode):
    """Within it torch.nn.init does nothing, which takes most of the time of a model without memory.

    With `wanted`, the shapes of a model that is looked for, the first linear layer beyond them raises
    `OtherModelError`: most models of many are built no further than to their first block.
    """

    def __init__(self, wanted: Collection[tuple[int, ...]] | None = None):
        super().__init__()
        self.left = None if wanted is None else Counter(wanted)

    def __torch_function__(self, func: Any, _types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func not in _INITIALISERS:
            return func(*args, **kwargs)
        tensor = kwargs["tensor"] if "tensor" in kwargs else args[0]
        shape = tuple(tensor.shape)
        if self.left is not None and func is nn.init.kaiming_uniform_ and len(shape) == 2:  # of nn.Linear itself
            self.left[shape] -= 1
            if self.left[shape] < 0:
                raise OtherModelError
        return tensor
