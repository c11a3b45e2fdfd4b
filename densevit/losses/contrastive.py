"""CLIP's loss: which text belongs to which image, among those of all processes. https://arxiv.org/abs/2103.00020"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from densevit.processes import rank_and_size


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Images and texts (B, C), each of length 1, row by row a pair, and the factor on their cosines -> a scalar.

    It is the mean of two cross entropies: of each image among all texts, and of each text among all images. In a group
    of processes "all" are those of every process, whose numbers of pairs must be equal, and gradients flow to each: the
    mean of the gradients of all processes, as DDP takes it, is that of one process with all pairs.
    """
    kind = torch.promote_types(images.dtype, torch.float32)
    images, texts = images.to(kind), texts.to(kind)
    all_images, all_texts, first = images, texts, 0
    rank, size = rank_and_size()
    if size > 1:
        all_images, all_texts = (AllRows.apply(features) for features in (images, texts))
        first = rank * len(images)
    own = torch.arange(first, first + len(images), device=images.device)
    of_images, of_texts = scale * images @ all_texts.mT, scale * texts @ all_images.mT
    return (F.cross_entropy(of_images, own) + F.cross_entropy(of_texts, own)) / 2


class AllRows(torch.autograd.Function):
    """Rows (B, C) of each process -> those of all (processes * B, C), on every process, with gradients to their own."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad.chunk(dist.get_world_size())[dist.get_rank()]
