"""How far a network sees: the effective receptive field of its stages, decoder and logits.

https://arxiv.org/abs/1701.04128: the gradient of what one output position holds with respect to the image. Its channels
are summed with random signs, not plainly: behind a LayerNorm, as most stages of transformers are, their plain sum never
changes. The squares of such gradients, averaged, are those of all channels, added up.
Dimension key: B batch, C channels, *S the image's size.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from densevit.backbones.base import Backbone
from densevit.classifier import FeatureModel
from densevit.segmentor import Segmentor

SHARES = (0.5, 0.9, 0.95)  # of the energy, of which the boxes are told
Outputs = Callable[[Tensor], Mapping[str, Tensor]]


@dataclass(frozen=True)
class ReceptiveField:
    """Of the output called `name`: how much each pixel of the image moves its central position.

    `energy` (*S) holds squared gradients that sum to 1; `centre` is where that position stands in the image, in pixels
    from its border.
    """

    name: str
    energy: np.ndarray
    centre: tuple[float, ...]

    def size(self, share: float) -> int:
        """The side, in pixels or voxels, of the smallest square or cube around the centre that holds this share
        of the energy."""
        distances = self._distances()
        order = np.argsort(distances, axis=None, kind="stable")
        summed = np.cumsum(self.energy.ravel()[order])
        last = min(np.searchsorted(summed, share * summed[-1] * (1 - 1e-9)), len(order) - 1)
        return round(2 * distances.ravel()[order][last] + 1)

    @property
    def largest(self) -> int:
        """The side of the box that holds the whole image."""
        return round(2 * self._distances().max() + 1)

    def _distances(self) -> np.ndarray:
        """(*S): from the centre to the middle of each pixel, along the axis along which it is farthest."""
        axes = [abs(np.arange(n) + 0.5 - c) for n, c in zip(self.energy.shape, self.centre, strict=True)]
        return np.maximum.reduce(np.meshgrid(*axes, indexing="ij"))


def receptive_fields(
    model: nn.Module, images: Iterable[Tensor], *, outputs: Outputs | None = None
) -> list[ReceptiveField]:
    """The effective receptive field of each output of a model, averaged over images (C, *S) of one size.

    Of each output (B, C', *S') the central position is differentiated with respect to the image, one random sum of its
    channels an image; the squares are summed over the image's channels. The outputs are the stages of a backbone, and
    of a `Segmentor` also its decoder and logits; of any other module what it returns; or what `outputs` gives by name.
    Sizes should be multiples of the strides: else the image is filled up, and a centre is told up to half a cell off.
    The model is in eval mode meanwhile. ValueError where no image is given, and where nothing moves an output.
    """
    outputs = outputs or (lambda x: named_outputs(model, x))
    totals: dict[str, np.ndarray] = {}
    places: dict[str, Sequence[float]] = {}
    signs = torch.Generator().manual_seed(0)
    was_training = model.training
    model.eval()
    try:
        for image in images:
            for name, (energy, centre) in _energies(outputs, image, signs).items():
                totals[name] = totals.get(name, 0) + energy
                places[name] = centre
    finally:
        model.train(was_training)
    if not totals:
        raise ValueError("a receptive field is averaged over images, and none was given; give random ones")
    still = [name for name, total in totals.items() if not 0 < total.sum() < np.inf]
    if still:
        raise ValueError(f"no pixel moves the centre of {', '.join(still)}: its gradient is zero or not finite")
    return [ReceptiveField(name, total / total.sum(), tuple(places[name])) for name, total in totals.items()]


def named_outputs(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """What a model computes of an image (B, C, *S), by name: stages, decoder and logits, or what a module returns."""
    if isinstance(model, Segmentor):
        maps = model.backbone(x)
        found = {f"stage {i}": level for i, level in enumerate(maps, start=1)}
        decoded = model.decoder(maps if model.decoder.image_channels is None else [x, *maps])
        return found | {"decoder": decoded.logits(), "logits": decoded.classify(model.head).logits(x.shape[2:])}
    made = model(x)
    if isinstance(made, Tensor):
        return {"output": made}
    return {
        f"{'stage' if isinstance(model, Backbone | FeatureModel) else 'output'} {i}": y
        for i, y in enumerate(made, start=1)
    }


def _energies(outputs: Outputs, image: Tensor, signs: torch.Generator) -> dict[str, tuple[np.ndarray, list[float]]]:
    """(*S) and the centre in pixels, of each output of one image."""
    found = {}
    with torch.enable_grad():
        x = image.detach()[None].clone().requires_grad_()
        for name, output in outputs(x).items():
            middle = [n // 2 for n in output.shape[2:]]
            response = output[(0, slice(None), *middle)]  # (C',)
            drawn = torch.randint(2, response.shape, generator=signs) * 2.0 - 1
            (gradient,) = torch.autograd.grad(response @ drawn.to(response), x, retain_graph=True, allow_unused=True)
            moved = torch.zeros_like(x) if gradient is None else gradient
            centre = [(m + 0.5) * n / s for m, n, s in zip(middle, x.shape[2:], output.shape[2:], strict=True)]
            found[name] = (moved[0].double().square().sum(0).cpu().numpy(), centre)
    return found
