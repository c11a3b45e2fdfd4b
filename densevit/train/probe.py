"""What frozen features know of classes: by their nearest neighbours, and by a linear layer on them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone
from densevit.data.stream import EvalSet
from densevit.data.view import ViewOptions
from densevit.processes import gather, rank_and_size
from densevit.train.tasks.class_scores import view_loader
from densevit.workers import drawing

PIECE = 1024  # images that are compared with all others at once


@torch.no_grad()
def frozen_features(
    backbone: Backbone,
    samples: EvalSet,
    *,
    view: ViewOptions,
    device: torch.device,
    batch_size: int = 16,
    num_workers: int = 0,
    on_image: Callable[[int, int], bool | None] | None = None,
) -> tuple[Tensor, Tensor] | None:
    """Features (N, C) and classes (N): the class token of the last level, or the mean of its grid without one.

    Each process of a group looks at its share of the images, and all get those of all. `on_image(done, total)` is
    called after each batch and may return True to stop: the result is then None.
    """
    features, labels = [], []
    rank, size = rank_and_size()
    was_training, order = backbone.training, range(rank, len(samples), size)
    backbone.eval()
    try:
        with drawing(view_loader(samples, view, order, batch_size=batch_size, num_workers=num_workers)) as batches:
            for batch in batches:
                image = torch.stack([sample.image for sample in batch]).to(device)
                features.append(backbone.features(image).pooled.float().cpu())
                labels.append(torch.stack([sample.label for sample in batch]))
                if on_image is not None and on_image(sum(map(len, labels)), len(order)):
                    return None
    finally:
        backbone.train(was_training)
    return join((torch.cat(features), torch.cat(labels)))


def join(rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What every process has found, (N, ...) each, one after another."""
    return tuple(torch.cat(parts) for parts in zip(*gather(rows), strict=True))


def neighbour_logits(
    known: Tensor, labels: Tensor, asked: Tensor, *, num_classes: int, k: int = 20, temperature: float = 0.07
) -> Tensor:
    """Known features (N, C) with their classes (N), asked ones (M, C) -> logarithms of shares of the votes (M, K).

    The `k` nearest by the cosine vote for their classes with exp(cosine / temperature), as in DINO
    (https://arxiv.org/abs/2104.14294).
    """
    known = F.normalize(known, dim=1)
    votes = []
    for piece in F.normalize(asked, dim=1).split(PIECE):
        near = (piece @ known.T).topk(min(k, len(known)))
        weights = (near.values / temperature).exp()
        of_class = torch.zeros(len(piece), num_classes).scatter_add_(1, labels[near.indices], weights)
        votes.append(of_class / of_class.sum(1, keepdim=True))
    return torch.cat(votes).clamp_min(1e-12).log()


def linear_logits(
    known: Tensor, labels: Tensor, asked: Tensor, *, num_classes: int, decay: float = 1e-3, steps: int = 100
) -> Tensor:
    """The same by a linear layer, see `fit_linear`."""
    return fit_linear(known, labels, num_classes=num_classes, decay=decay, steps=steps)(asked)


def fit_linear(
    known: Tensor, labels: Tensor, *, num_classes: int, decay: float = 1e-3, steps: int = 100
) -> Callable[[Tensor], Tensor]:
    """A linear layer, features (M, C) -> logits (M, K), with the least cross entropy on the known ones plus `decay` / 2
    times its squared weights, by L-BFGS.

    Features are brought to mean 0 and deviation 1 of the known ones.
    """
    mean, deviation = known.mean(0), known.std(0).clamp_min(1e-6)
    known = (known - mean) / deviation
    layer = nn.Linear(known.shape[1], num_classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = F.cross_entropy(layer(known), labels) + decay / 2 * layer.weight.square().sum()
        found.backward()
        return found

    optimizer.step(loss)
    layer.requires_grad_(False)
    return lambda asked: layer((asked - mean) / deviation)
