"""What frozen features know of places: classes of patches by their neighbours or a linear layer, as label maps.

Legend: image (C, *S), features (N, D) of N patches, labels (N), logits (N, K).
"""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from densevit.backbones.base import Backbone
from densevit.blocks import nd
from densevit.data.dataset import Sample
from densevit.data.stream import EvalSet
from densevit.labels import IGNORE
from densevit.metrics import ConfusionMatrix, SegmentationScores
from densevit.processes import rank_and_size
from densevit.train.probe import join
from densevit.workers import Workers, drawing

MOST = 10_000  # patches whose class is known, evenly many of each image
Classify = Callable[[Tensor], Tensor]  # features (N, D) -> logits (N, K)
OnImage = Callable[[int, int], bool | None] | None  # (done, total); True stops, and the result is then None


def patch_features(backbone: Backbone, image: Tensor) -> Tensor:
    """(1, C, *S) -> (D, *grid): of a plain backbone the last level.

    Levels of a pyramid are brought to unit length and joined, on the grid of the second one.
    """
    maps = backbone.features(image).maps
    if len({found.shape[2:] for found in maps}) == 1:
        return maps[-1][0]
    size = maps[1].shape[2:]
    return torch.cat([nd.resize(F.normalize(found, dim=1), size) for found in maps], dim=1)[0]


@torch.no_grad()
def known_patches(
    backbone: Backbone,
    samples: EvalSet,
    *,
    device: torch.device,
    size: Sequence[int] | None = None,
    num_workers: int = 0,
    most: int = MOST,
    on_image: OnImage = None,
) -> tuple[Tensor, Tensor] | None:
    """Features and classes of up to `most` patches, always the same ones; a patch is of the class at its middle.

    Images are seen whole, or resized to `size`. Patches in which nothing is known at the middle are left out.
    """
    share = -(-most // len(samples))
    features, labels = [], []
    mine = _share(samples)
    for done, (i, sample) in enumerate(_each(backbone, samples, mine, num_workers=num_workers), start=1):
        found = patch_features(backbone, _seen(sample, size, device)).float().cpu()
        label = sample.label[None, None].float()
        label = F.interpolate(label, size=found.shape[1:], mode="nearest-exact").flatten().long()
        places = (label != IGNORE).nonzero()[:, 0]
        chosen = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(i))[:share]]
        features.append(found.flatten(1).T[chosen])
        labels.append(label[chosen])
        if on_image is not None and on_image(done, len(mine)):
            return None
    return join((torch.cat(features), torch.cat(labels)))


@torch.no_grad()
def score_patches(
    backbone: Backbone,
    samples: EvalSet,
    classify: Sequence[Classify],
    *,
    device: torch.device,
    size: Sequence[int] | None = None,
    num_workers: int = 0,
    on_image: OnImage = None,
) -> list[SegmentationScores] | None:
    """Scores of each way to classify patches: shares of classes are resized to the label map, then the largest wins."""
    num_classes = samples.dataset.num_classes
    matrices = [ConfusionMatrix(max(num_classes, 2), ignore_index=IGNORE) for _ in classify]
    mine = _share(samples)
    for done, (_, sample) in enumerate(_each(backbone, samples, mine, num_workers=num_workers), start=1):
        found = patch_features(backbone, _seen(sample, size, device)).float().cpu()
        rows, grid = found.flatten(1).T, found.shape[1:]
        for ask, matrix in zip(classify, matrices, strict=True):
            shares = ask(rows).softmax(1).T.unflatten(1, grid)[None]
            matrix.update(nd.resize(shares, tuple(sample.label.shape))[0].argmax(0), sample.label)
        if on_image is not None and on_image(done, len(mine)):
            return None
    return [matrix.reduce().compute() for matrix in matrices]


def _share(samples: EvalSet) -> range:
    """The numbers of this process's samples."""
    rank, world = rank_and_size()
    return range(rank, len(samples), world)


def _each(backbone: Backbone, samples: EvalSet, order: range, *, num_workers: int) -> Iterator[tuple[int, Sample]]:
    """Samples of these numbers with them, while the backbone is in eval mode."""
    loader = DataLoader(
        samples,
        batch_size=None,
        sampler=order,
        num_workers=num_workers,
        collate_fn=_as_it_is,
        worker_init_fn=Workers(num_workers),
    )
    was_training = backbone.training
    backbone.eval()
    try:
        with drawing(loader) as found:
            yield from zip(order, found, strict=True)
    finally:
        backbone.train(was_training)


def _as_it_is(sample: Sample) -> Sample:
    return sample


def _seen(sample: Sample, size: Sequence[int] | None, device: torch.device) -> Tensor:
    image = sample.image[None].to(device)
    return image if size is None else nd.resize_smoothly(image, list(size))
