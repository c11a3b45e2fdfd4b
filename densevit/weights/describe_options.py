"""Options of a model that its tensors tell: read from our names and shapes, for describing and converting."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor

from densevit.weights.tables import find_grid
from densevit.weights.target import STEM

State = Mapping[str, Tensor]


def find_backbone_options(state: State, keywords: Collection[str]) -> dict[str, Any]:
    """Those of the builder's keywords whose values can be told."""
    found = {key: find(state) for key, find in _BACKBONE_OPTIONS.items() if key in keywords}
    return {key: value for key, value in found.items() if value is not None}


def find_decoder(state: State) -> tuple[str | None, dict[str, Any]]:
    """Name and options of the decoder that these tensors are of; None where there is none that we know."""
    for name, (mark, find_options) in _DECODERS.items():
        if any(tensor.startswith(f"decoder.{mark}") for tensor in state):
            return name, find_options(state)
    return None, {}


def _patch_size(state: State) -> int | list[int]:
    return _plain(state[STEM].shape[2:])


def _image_size(state: State) -> int | list[int] | None:
    """The image for which the first table of positions is made."""
    table, rank = state.get("backbone.stages.0.downsample.position.pos_embed"), state[STEM].ndim - 2
    if table is None:
        return None
    grid = find_grid(table.shape[1] - _num_tokens(state), (1,) * rank)
    if grid is None or len(set(grid)) > 1:
        return None
    return _plain([cells * patch for cells, patch in zip(grid, state[STEM].shape[2:], strict=True)])


def _num_tokens(state: State) -> int:
    return sum(name.startswith("backbone.stages.0.downsample.position.tokens.") for name in state)


def _window_size(state: State) -> int | None:
    """The window of a square or cubic table of relative biases."""
    table = next((t for name, t in state.items() if name.endswith(".relative_position_bias_table")), None)
    rank = state[STEM].ndim - 2
    side = None if table is None else round(len(table) ** (1 / rank))
    return (side + 1) // 2 if side and side**rank == len(table) else None


def _class_token(state: State) -> bool:
    return any(name.endswith("cls_token") for name in state)


_BACKBONE_OPTIONS: dict[str, Callable[[State], Any]] = {
    "patch_size": _patch_size,
    "image_size": _image_size,
    "num_tokens": _num_tokens,
    "window_size": _window_size,
    "class_token": _class_token,
}


def _all_mlp(state: State) -> dict[str, Any]:
    return {
        "dim": state["decoder.fuse.weight"].shape[0],
        "project_norm": any(name.startswith("decoder.project_norms.") for name in state),
    }


def _fpn(state: State) -> dict[str, Any]:
    return {
        "dim": state["decoder.lateral_convs.0.weight"].shape[0],
        "head_dim": state["decoder.branch.levels.0.0.conv.weight"].shape[0],
    }


def _uper(state: State) -> dict[str, Any]:
    return {"dim": state["decoder.fpn_bottleneck.conv.weight"].shape[0]}


def _unetr(state: State) -> dict[str, Any]:
    return {"dim": state["decoder.ups.0.merge.conv1.weight"].shape[0]}


# Name -> a mark that no other decoder's tensors have before it in this order, and its options.
_DECODERS: dict[str, tuple[str, Callable[[State], dict[str, Any]]]] = {
    "all_mlp": ("fuse.weight", _all_mlp),
    "uper": ("fpn_bottleneck.conv.weight", _uper),
    "fpn": ("fpn_convs.0.weight", _fpn),
    "vt_fpn": ("rounds.", lambda _: {}),
    "unetr": ("ups.0.merge.conv1.weight", _unetr),
    "linear": ("norm.running_mean", lambda _: {}),
}


def _plain(values: Collection[int]) -> int | list[int]:
    """One number where all are the same."""
    return next(iter(values)) if len(set(values)) == 1 else list(values)
