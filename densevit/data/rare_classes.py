"""Rare-class sampling: images of rare classes are drawn more often (DAFormer, https://arxiv.org/abs/2111.14887)."""

from dataclasses import dataclass

import numpy as np

from densevit.options import read_options


@dataclass(frozen=True, kw_only=True)
class RareClassOptions:
    """The keys of `rare_class_sampling`.

    temperature: low values favour rare classes more. min_pixels: what counts as an image of a class.
    min_crop_ratio: a crop with fewer than min_pixels x this of the drawn class is drawn again, up to ten times.
    """

    temperature: float = 0.01
    min_pixels: int = 3000
    min_crop_ratio: float = 0.5

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")


class RareClassSampler:
    """Draws a class by P(c) ~ exp((1 - frequency) / temperature), then an image of it; from pixel counts (N, K)."""

    def __init__(self, counts: np.ndarray, options: RareClassOptions):
        if not counts.any():
            raise ValueError("rare_class_sampling found no pixel of any class in the labels; check the labels")
        frequency = counts.sum(0) / counts.sum()
        weight = np.where(frequency > 0, np.exp((frequency[frequency > 0].min() - frequency) / options.temperature), 0)
        self.probabilities = weight / weight.sum()
        self.images = [_images_of(counts[:, index], options.min_pixels) for index in range(counts.shape[1])]
        self.crop_pixels = options.min_pixels * options.min_crop_ratio

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """(image index, class)."""
        wanted = int(rng.choice(len(self.probabilities), p=self.probabilities))
        return int(rng.choice(self.images[wanted])), wanted


def create_rare_classes(options: RareClassOptions | dict | bool, *, counts: np.ndarray) -> RareClassSampler:
    """From options, a dictionary of them, or True for the published values."""
    given = {} if options is True else options
    return RareClassSampler(counts, read_options(RareClassOptions, given, where="rare_class_sampling"))


def _images_of(pixels: np.ndarray, min_pixels: int) -> np.ndarray:
    """Images with enough pixels of a class; where none has enough, those with any."""
    enough = np.flatnonzero(pixels >= min_pixels)
    return enough if len(enough) else np.flatnonzero(pixels)
