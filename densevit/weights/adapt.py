"""Fit a checkpoint to a model that differs on purpose: other input channels, a third dimension, larger tables.

Inflation gives weights of pictures the axis D of volumes, which comes first. On a volume that repeats one slice an
inflated network gives the features of the 2D network; docs/weights.md says where that is exact.
"""

import re
from dataclasses import replace

import torch
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.visual_tokens import PositionCode
from densevit.blocks.window import PatchMerging
from densevit.weights.rename import Translation
from densevit.weights.shapes import STEM
from densevit.weights.tables import fit_tables
from densevit.weights.target import Target

CHANNELS = (None, "sum", "tile")
INFLATIONS = (None, "center", "mean")
# MViT has tables of relative positions for each axis, or of absolute ones for the first axis of volumes alone.
_TABLE_OF_AXIS = re.compile(r"(\.rel_pos\.)(\d+)$")
_OF_NEW_AXIS = re.compile(r"\.rel_pos\.0$|\.pos_embed_temporal$")


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
        if name not in state and _OF_NEW_AXIS.search(name):
            state[name] = torch.zeros(own.shape, device="cpu")
            remarks.append(f"{name} {tuple(own.shape)} of zeros")
    return replace(translation, state=state, inflated=[*translation.inflated, *remarks])


def _inflate_tensor(name: str, tensor: Tensor, target: Target, *, how: str) -> Tensor:
    owner, parent = target.owner(name), target.owner(name, levels=2)
    if isinstance(owner, nd.UPSAMPLINGS) and _lacks_an_axis(tensor, owner):
        return _spread(tensor, owner)
    if isinstance(owner, nd.CONVOLUTIONS) and _lacks_an_axis(tensor, owner):
        return _inflate_kernel(tensor, owner.kernel_size[0], how=how)
    if isinstance(parent, PatchMerging):
        return _inflate_merging(tensor, parent, how=how)
    if isinstance(parent, PositionCode) and name.endswith("project.weight"):  # a linear map of flattened cells
        cells = owner.in_features // tensor.shape[1]
        return tensor.repeat(1, cells) / cells
    return tensor


def _lacks_an_axis(tensor: Tensor, owner: nn.Module) -> bool:
    return tensor.ndim + 1 == owner.weight.ndim


def _inflate_kernel(kernel: Tensor, depth: int, *, how: str) -> Tensor:
    """(O, I, *S) -> (O, I, depth, *S) whose sum over depth is the kernel."""
    inflated = kernel.new_zeros(*kernel.shape[:2], depth, *kernel.shape[2:])
    if how == "mean":
        inflated += kernel.unsqueeze(2) / depth
    else:
        inflated[:, :, depth // 2] = kernel
    return inflated


def _spread(kernel: Tensor, owner: nn.Module) -> Tensor:
    """(I, O, *S) -> (I, O, depth, *S) such that every output slice gets the kernel once, whatever the inflation."""
    depth, stride = owner.kernel_size[0], owner.stride[0]
    return kernel.unsqueeze(2).repeat_interleave(depth, 2) * (stride / depth)


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
    """Fit the first convolution (dim, C_old, *kernel) to the model's input channels (dim, C_new, *kernel)."""
    weight, stem = translation.state.get(STEM), target.tensors.get(STEM)
    if weight is None or stem is None or weight.ndim != stem.ndim or weight.shape[1] == stem.shape[1]:
        return translation
    old, new = weight.shape[1], stem.shape[1]
    if how == "sum":
        adapted = (weight.sum(1, keepdim=True) / new).repeat_interleave(new, 1)
    else:
        adapted = weight[:, torch.arange(new) % old] * (old / new)
    remark = f"{STEM} {tuple(adapted.shape)} from {tuple(weight.shape)} by {how} over channels"
    return replace(translation, state={**translation.state, STEM: adapted}, reshaped=[remark, *translation.reshaped])
