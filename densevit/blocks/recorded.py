"""The weights of attention as a network computes them, and which tokens they join, for as long as a block lasts.

Dimension key: B batch, W windows (1 where all tokens meet), H heads, N queries and M keys of a window.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

from torch import Tensor, nn

from densevit.blocks.attention import Attend, Places
from densevit.blocks.tokens import Tokens

MOST = 2**28  # weights that are kept, a gibibyte of them


@dataclass
class AttentionLayer:
    """What one module attended to: `weights` (B, W, H, N, M) of each of its calls, and the `places` of their tokens.

    `size` is the grid that came into it, after tokens of the names in `prefix`. There are no places where its module
    does not say them.
    """

    name: str
    size: tuple[int, ...]
    prefix: tuple[str, ...]
    places: list[Places]
    weights: list[Tensor] = field(default_factory=list)


@contextmanager
def record_attention(model: nn.Module, *, most: int = MOST) -> Iterator[list[AttentionLayer]]:
    """Within the block, the list gets an `AttentionLayer` each time that a module of `model` attends, in order.

    The weights are those of the network: softmax(Q K^T) of the block's own queries and keys, with its scale, bias and
    mask. The network itself goes its usual way, and nothing of it is changed. ValueError where more than `most` weights
    would have to be kept.
    """
    recorder = _Recorder(most)
    attending = {name: module for name, module in model.named_modules() if isinstance(module, Attend)}
    around = {above: None for name in attending for above in _parents(name)}
    with ExitStack() as hooks:
        for name in around:
            module = model.get_submodule(name)
            hook = partial(recorder.enter, name, getattr(module, "places", None))
            hooks.callback(module.register_forward_pre_hook(hook).remove)
        for name, module in attending.items():
            hook = partial(recorder.attend, name.rpartition(".")[0])
            hooks.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield recorder.layers


class _Recorder:
    """Hooks: the nearest module around that gets a grid, or tokens that know theirs, says where tokens stand."""

    def __init__(self, most: int):
        self.layers: list[AttentionLayer] = []
        self.left, self.most = most, most
        self.size: tuple[int, ...] = ()
        self.prefix: tuple[str, ...] = ()

    def enter(
        self,
        name: str,
        places: Callable[..., list[Places]] | None,
        module: nn.Module,
        inputs: Sequence[Any],
    ) -> None:
        """Before a module around attention; the one just around it, called last, begins a layer."""
        x = inputs[0] if inputs else None
        if isinstance(x, Tokens):
            self.size, self.prefix = tuple(x.size), tuple(x.prefix)
        elif isinstance(x, Tensor) and len(x.shape[1:-1]) > 1:  # a sequence (B, N, C) keeps the grid of what is around
            self.size, self.prefix = tuple(x.shape[1:-1]), ()
        if any(isinstance(child, Attend) for child in module.children()):
            found = [] if places is None else places(self.size, self.prefix)
            self.layers.append(AttentionLayer(name, self.size, self.prefix, found))

    def attend(self, name: str, module: Attend, inputs: Sequence[Tensor], options: dict[str, Any]) -> None:
        """Before a call of attention."""
        layer = self.layers[-1]
        q, k, *_ = inputs
        self.left -= prod(q.shape[:-1]) * k.shape[-2]
        if self.left < 0:
            raise ValueError(
                f"attention in {name} has {q.shape[-2]} queries and {k.shape[-2]} keys, and with those before it more "
                f"than the {self.most} weights that are kept; give a smaller image"
            )
        weights = module.weights(q, k, **options).detach()
        windows = len(layer.places[len(layer.weights)].queries) if layer.places else 1
        layer.weights.append(weights.unflatten(0, (-1, windows)))


def _parents(name: str) -> list[str]:
    """Names of all modules around one, the nearest last: "a.b.c" -> "", "a", "a.b"."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts))]
