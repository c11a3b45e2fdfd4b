"""Training crops of volumes: place (zoom, rotation, flips, elastic), then intensity; known by seed and draw alone.

Every number is drawn from the generator that is handed in. docs/decisions/augment_3d.md says why the crop is ours and
the intensities are MONAI's.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from densevit.data.augment.crop_3d import Cut, Place, bounds, cut, draw_elastic, place_crop, sample, step_matrix
from densevit.data.augment.monai_intensity import IntensityChain
from densevit.data.augment.options import NO_SIDES, VolumeAugmentOptions
from densevit.data.dataset import Sample
from densevit.data.foreground import draw_voxel, foreground_voxels
from densevit.labels import IGNORE
from densevit.sides import Sides, mirrored_classes


class Augment3D:
    """A volume (C, D, H, W) and its label (D, H, W) of bytes -> both of `crop_size`, float32 and uint8.

    What lies beyond the volume is 0 in the image and ignored in the label. Where the sample does not know its
    `foreground`, the label is searched. Image and label may be memory-mapped: only the crop is read. Classes that are
    each other's mirror image change places where the last axis is turned round.
    """

    def __init__(self, options: VolumeAugmentOptions, *, sides: Sides = NO_SIDES):
        self.options = options = options.filled()
        pairs = sides.check(what="augment.flips", otherwise="set its last number to 0") if options.mirrors else ()
        self.mirror = torch.tensor(mirrored_classes(IGNORE + 1, pairs), dtype=torch.uint8) if pairs else None
        self.chain = IntensityChain(options.extra) if options.extra else None

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image, label = self.finish(self.draw(sample, rng))
        return replace(sample, image=image.numpy(), label=label.numpy(), foreground=None)

    def draw(self, sample: Sample, rng: np.random.Generator) -> Cut:
        """All chance of a crop, and the part of the volume that it reads."""
        label = sample.label
        place, zoom = self._draw_place(rng, sample.grid.spacing)
        low, high = bounds(place.size, volume=label.shape, zoom=zoom)
        centre, voxel = rng.uniform(low, high), self._draw_voxel(rng, label, sample.foreground)
        if voxel is not None:
            centre = np.array(np.unravel_index(voxel, label.shape), np.float64)
        place = place_crop(centre, volume=label.shape, place=place, zoom=zoom, around=voxel is not None)
        return cut(sample.image, label, place, seed=int(rng.integers(1 << 62)))

    def finish(self, piece: Cut, *, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Float32 (C, *crop_size) and uint8 (*crop_size) on the device."""
        image, label = sample(piece, device=device)
        if self.mirror is not None and piece.place.mirrored:
            label = self.mirror.to(label.device)[label.int()]
        image = self._change_intensity(image, np.random.default_rng(piece.seed))
        return image if self.chain is None else self.chain(image, seed=piece.seed), label

    def _draw_place(self, rng: np.random.Generator, spacing: tuple[float, float, float]) -> tuple[Place, float]:
        """The crop's place without its middle, and its zoom; as many numbers are drawn whatever happens."""
        options = self.options
        zoom, angles = rng.uniform(*options.scale), rng.uniform(-1, 1, 3)
        zoomed, turned, bent = rng.random(3) < (options.scale_prob, options.rotate_prob, options.elastic_prob)
        flips, seed = rng.random(3) < options.flips, int(rng.integers(1 << 62))
        zoom = zoom if zoomed else 1.0
        in_plane = options.rotate if options.rotate_in_plane is None else options.rotate_in_plane
        angles = angles * (in_plane, options.rotate, options.rotate) * turned
        matrix = step_matrix(zoom=zoom, angles=angles, flips=flips, spacing=spacing)
        elastic = None
        if bent and options.elastic is not None:
            largest, distance = options.elastic
            shape = dict(size=options.crop_size, spacing=spacing, largest=largest, distance=distance)
            elastic = draw_elastic(np.random.default_rng(seed), **shape)
        place = dict(size=options.crop_size, matrix=matrix, mirrored=bool(flips[-1]), spacing=spacing, elastic=elastic)
        return Place(**place), zoom

    def _draw_voxel(self, rng: np.random.Generator, label: np.ndarray, foreground: np.ndarray | None) -> int | None:
        """The voxel that the crop is to hold, or None for a crop from anywhere."""
        wanted, picks, weights = rng.random() < self.options.foreground, rng.random(2), self.options.foreground_weights
        if not wanted:
            return None
        if foreground is None:
            classes = np.unique(label)
            classes = int(classes[classes != IGNORE].max(initial=0)) + 1 if weights is None else len(weights)
            foreground = foreground_voxels(label, classes)
        return draw_voxel(foreground, picks, weights=weights)

    def _change_intensity(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Each channel times 1 +- intensity, plus +- intensity, plus noise of a deviation up to `noise`."""
        intensity, noise = self.options.intensity, self.options.noise
        if intensity:
            change = rng.uniform(-intensity, intensity, (2, len(image), 1, 1, 1)).astype(np.float32)
            factor, shift = torch.from_numpy(change).to(image.device)
            image = image * (1 + factor) + shift
        if noise:
            values = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32)).to(image.device)
            image = image + values * float(rng.uniform(0, noise))
        return image
