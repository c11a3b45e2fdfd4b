"""Fit a checkpoint to a model that differs on purpose: other input channels, a third dimension, larger tables.

Inflation gives weights of pictures the axis D of volumes, which comes first. On a volume that repeats one slice an
inflated network gives the features of the 2D network; docs/weights.md says where that is exact.
"""

import re
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.mlp_mixer import CellMixing
from densevit.blocks import nd
from densevit.blocks.position import FourierPositions
from densevit.blocks.standard_conv import STANDARD_CONV
from densevit.blocks.visual_tokens import PositionCode
from densevit.blocks.window import PatchMerging
from densevit.weights.family import STEM
from densevit.weights.fit_tables import fit_tables
from densevit.weights.names import Target
from densevit.weights.rename import Translation

CHANNELS = (None, "sum", "tile")
INFLATIONS = (None, "center", "mean")
# MViT has tables of relative positions for each axis, or of absolute ones for the first axis of volumes alone; rotary
# positions of pictures know no angle along it.
_TABLE_OF_AXIS = re.compile(r"(\.rel_pos\.)(\d+)$")
_OF_NEW_AXIS = re.compile(r"\.rel_pos\.0$|\.pos_embed_temporal$|\.rope\.rates$|\.time_embed$|\.temporal_attn\.fc\.")
# TimeSformer's attention over time begins with the weights of that within frames, and adds nothing until it is trained.
_LIKE_SPACE = re.compile(r"\.temporal_(?=(attn|norm1)\.)")
_WINDOW_NORM = re.compile(r"backbone\.stages\.0\.downsample\.norm1\.(weight|bias)")  # T2T-ViT: (C, *kernel)


def adapt(translation: Translation, target: Target, *, channels: str | None, inflate: str | None) -> Translation:
    """Change the tensors that can be made to fit, with a remark on each; the others are left unchanged."""
    stems = translation.state.get(STEM), target.tensors.get(STEM)
    theirs, ours = (None if stem is None else stem.ndim for stem in stems)
    flat = inflate is not None and None not in (theirs, ours) and theirs < ours
    if flat:
        translation = _inflate(translation, target, how=inflate)
    if flat or theirs == ours:
        translation = fit_tables(translation, target, flat=flat)
    return translation if channels is None else _adapt_stem(translation, target, how=channels)


def _inflate(translation: Translation, target: Target, *, how: str) -> Translation:
    state, remarks = {}, []
    for name, tensor in translation.state.items():
        name = _TABLE_OF_AXIS.sub(lambda m: f"{m[1]}{int(m[2]) + 1}", name)
        state[name] = inflated = _inflate_tensor(name, tensor, target, how=how)
        if inflated.shape != tensor.shape:
            remarks.append(f"{name} {tuple(inflated.shape)} from {tuple(tensor.shape)} by {how}")
    for name, own in target.tensors.items():
        like = _LIKE_SPACE.sub(".", name)
        if name not in state and _OF_NEW_AXIS.search(name):
            state[name] = torch.zeros(own.shape, device="cpu")
            remarks.append(f"{name} {tuple(own.shape)} of zeros")
        elif name not in state and like in state:
            state[name] = state[like]
            remarks.append(f"{name} {tuple(own.shape)} from {like}")
    return replace(translation, state=state, inflated=[*translation.inflated, *remarks])


def _inflate_tensor(name: str, tensor: Tensor, target: Target, *, how: str) -> Tensor:
    owner, parent = target.owner(name), target.owner(name, levels=2)
    if isinstance(owner, (*nd.CONVOLUTIONS, *nd.UPSAMPLINGS)) and tensor.ndim + 1 == owner.weight.ndim:
        return _inflate_kernel(tensor, owner, how=how)
    if isinstance(owner, nn.LayerNorm) and tensor.ndim + 1 == owner.weight.ndim:  # of all that stands in a window
        return tensor.unsqueeze(1).repeat_interleave(owner.weight.shape[1], 1)
    if isinstance(parent, PatchMerging):
        return _inflate_merging(tensor, parent, how=how)
    if isinstance(parent, FourierPositions) and tensor.ndim > 1:  # the new axis comes first
        return F.pad(tensor, (parent.waves, 0))
    if isinstance(parent, CellMixing) and not name.endswith("fc1.bias"):  # what has a number for each cell
        return _inflate_mixing(tensor, parent.grid[0], reads=name.endswith("fc1.weight"))
    if isinstance(parent, PositionCode) and name.endswith("project.weight"):  # a linear map of flattened cells
        cells = owner.in_features // tensor.shape[1]
        return tensor.repeat(1, cells) / cells
    return tensor


def _inflate_kernel(kernel: Tensor, owner: nn.Module, *, how: str) -> Tensor:
    """(O, I, *S) -> (O, I, depth, *S) whose sum over depth is the kernel.

    One of a transposed convolution gives every output slice the kernel once, whatever the inflation.
    """
    depth = owner.kernel_size[0]
    if isinstance(owner, tuple(STANDARD_CONV.values())):  # which takes no notice of the mean, so that zeros stay zeros
        kernel = kernel - kernel.mean(dim=(1, 2, 3), keepdim=True)
    if isinstance(owner, nd.UPSAMPLINGS):
        return kernel.unsqueeze(2).repeat_interleave(depth, 2) * (owner.stride[0] / depth)
    inflated = kernel.new_zeros(*kernel.shape[:2], depth, *kernel.shape[2:])
    if how == "mean":
        inflated += kernel.unsqueeze(2) / depth
    else:
        inflated[:, :, depth // 2] = kernel
    return inflated


def _inflate_mixing(tensor: Tensor, slices: int, *, reads: bool) -> Tensor:
    """Weights (hidden, N) that read cells -> (hidden, slices * N), each slice a share; those that write, the same N
    for each slice: (N, ...) -> (slices * N, ...)."""
    return tensor.repeat(1, slices) / slices if reads else tensor.repeat(slices, *[1] * (tensor.ndim - 1))


def _inflate_merging(tensor: Tensor, owner: PatchMerging, *, how: str) -> Tensor:
    """Norm (4 C) -> (8 C), reduction (O, 4 C) -> (O, 8 C): each neighbour of 2D stands for two, one slice apart."""
    flat = PatchMerging(2, 1, merge_order=owner.merge_order).corners
    places = [flat.index(corner[1:]) for corner in owner.corners]
    if sorted(places) != sorted(2 * list(range(len(flat)))):
        raise ValueError(
            f"merge_order={owner.merge_order!r} reads some neighbours twice and others never, which no inflation can "
            "make up for; create the model with merge_order='fixed'"
        )
    parts = tensor.chunk(len(flat), dim=-1)
    shares = [1.0] * len(places)
    if tensor.ndim > 1:
        shares = [0.5 if how == "mean" else float(corner[0]) for corner in owner.corners]
    return torch.cat([parts[place] * share for place, share in zip(places, shares, strict=True)], dim=-1)


def _adapt_stem(translation: Translation, target: Target, *, how: str) -> Translation:
    """Fit the first convolution (dim, C_old, *kernel), and a norm of its windows, to the model's input channels."""
    state, weight, stem = translation.state, translation.state.get(STEM), target.tensors.get(STEM)
    if weight is None or stem is None or weight.ndim != stem.ndim or weight.shape[1] == stem.shape[1]:
        return translation
    old, new = weight.shape[1], stem.shape[1]

    def fit(tensor: Tensor, axis: int) -> Tensor:
        tensor = tensor.mean(axis, keepdim=True) if how == "sum" else tensor
        return tensor.index_select(axis, torch.arange(new) % tensor.shape[axis])

    fitted = {STEM: fit(weight, 1) * (old / new)}
    fitted |= {name: fit(tensor, 0) for name, tensor in state.items() if _WINDOW_NORM.fullmatch(name)}
    remarks = [f"{n} {tuple(t.shape)} from {tuple(state[n].shape)} by {how} over channels" for n, t in fitted.items()]
    return replace(translation, state=state | fitted, reshaped=[*remarks, *translation.reshaped])
