"""What is analysed of an image: the middle of it, as the network sees it, and as it is shown.

Legend: image (C, *S) normalised, raw (C, *S) to be shown, size in what the network sees, query a share of each axis.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from densevit.blocks import nd
from densevit.checkpoint import build_backbone, build_classifier, open_checkpoint
from densevit.classifier import FeatureModel
from densevit.inference.network import neighbouring_slices
from densevit.predictor import Predictor
from densevit.predictor.labels import fit_size
from densevit.report.thumbnails import draw_plane
from densevit.volumes.seen_scan import SeenScan
from densevit.volumes.volume import Volume

LONGEST = {2: 512, 3: 128}  # by rank: pixels along each axis, where neither the caller nor the checkpoint says a size
NOISES = 8
MOST_SHOWN = 8  # images of which maps are drawn
MARK = (255, 0, 255)


@dataclass(frozen=True)
class Seen:
    """One image called `name`; `corner` and `whole` say where its part lies in the whole, in the network's pixels, and
    `original` is the size of the file's own image. `spacing` in mm, None where there is none."""

    name: str
    image: Tensor
    raw: np.ndarray
    corner: tuple[int, ...]
    whole: tuple[int, ...]
    original: tuple[int, ...]
    spacing: tuple[float, ...] | None

    def within(self, query: Sequence[float] | None) -> tuple[float, ...] | None:
        """A place of the whole image in the part; ValueError where it lies outside."""
        if query is None:
            return None
        size = self.image.shape[1:]
        places = [q * n - c for q, n, c in zip(query, self.whole, self.corner, strict=True)]
        if not all(0 <= place < n for place, n in zip(places, size, strict=True)):
            raise ValueError(f"the query lies outside of the middle {times(size)} of {self.name}, which is analysed")
        return tuple(place / n for place, n in zip(places, size, strict=True))

    def shown(self, query: Sequence[float] | None) -> np.ndarray:
        """(H, W, 3) uint8: the picture, or the slice of a volume that holds the query, which is marked."""
        drawn = np.ascontiguousarray(draw_plane(to_plane(self.raw, query), None, palette=[]))
        if query is not None:
            cross = to_plane(_cross(self.raw.shape[1:], query), query)[0]
            drawn[cross] = MARK
        return drawn


def open_model(checkpoint: str | Path, *, device: str | None = None) -> Predictor:
    """A predictor of a checkpoint; of a classifier, or of a backbone alone, one whose model gives maps of features."""
    opened = open_checkpoint(checkpoint, classifiers=True, backbones=True)
    if opened.header.is_of_backbone:
        model = build_backbone(opened)
    elif opened.header.is_of_classifier:
        model = FeatureModel(build_classifier(opened).backbone)
    else:
        return Predictor(opened, device=device)
    predictor = Predictor(model, opened.header, device=device)
    predictor.path = opened.path
    return predictor


def read_images(predictor: Predictor, inputs: Sequence[str | Path], *, size: Sequence[int] | None = None) -> list[Seen]:
    """The middle of each image, all of one size: `size`, else that of the checkpoint's windows, else 512 pixels or 128
    voxels an axis; no more than the smallest image has, and a multiple of the coarsest stride where that is possible.

    A checkpoint of slices sees the middle slice of each scan. FileNotFoundError and ValueError as `Predictor` raises.
    """
    wholes = [_read(predictor, each.source, each.name) for each in predictor.reader.find(inputs, recursive=True)]
    smallest = [min(sizes) for sizes in zip(*(whole.image.shape[1:] for whole in wholes), strict=True)]
    common = _size(predictor, size, most=smallest)
    return [_middle(whole, common) for whole in wholes]


def read_noise(predictor: Predictor, *, size: Sequence[int] | None = None) -> list[Seen]:
    """Eight images of normal noise, always the same ones, at the spacing of training."""
    draws, size = torch.Generator().manual_seed(0), tuple(_size(predictor, size))
    spacing = _of_slice(predictor, predictor.header.spacing)
    images = [torch.randn(predictor.header.in_channels, *size, generator=draws) for _ in range(NOISES)]
    return [Seen("noise", image, image.numpy(), (0,) * len(size), size, size, spacing) for image in images]


def to_plane(image: np.ndarray, query: Sequence[float] | None) -> np.ndarray:
    """(C, *S) -> (C, H, W): of a volume the slice of its first axis at the query, or in the middle, head or front at
    the top; a picture as it is."""
    for axis in range(len(image.shape[1:-2])):
        share = 0.5 if query is None else query[axis]
        image = image.take(min(int(share * image.shape[1]), image.shape[1] - 1), axis=1)[:, ::-1, ::-1]
    return image


def on_axes(size: Sequence[int] | None, rank: int, *, usual: int | Sequence[int] | None = None) -> tuple[int, ...]:
    """One number for every axis, or one for each; without any what is `usual`."""
    if size is None:
        return nd.ntuple(usual or LONGEST[rank], rank)
    if min(size) < 1 or len(size) not in (1, rank):
        raise ValueError(f"the size is one number of at least 1, or one for each of {rank} axes, got {times(size)}")
    return nd.ntuple(size if len(size) == rank else size[0], rank)


def times(size: Sequence[int]) -> str:
    """512 x 512."""
    return " x ".join(map(str, size))


def _size(predictor: Predictor, size: Sequence[int] | None, *, most: Sequence[int] | None = None) -> list[int]:
    rank = predictor.header.spatial_dims
    asked = on_axes(size, rank, usual=predictor.inference.roi_size)
    within = [min(pair) for pair in zip(asked, most or asked, strict=True)]
    strides = [nd.ntuple(stride, rank) for stride in predictor.model.backbone.out_strides]
    coarsest = [max(of_axis) for of_axis in zip(*strides, strict=True)]
    return [max(n - n % stride, min(n, stride)) for n, stride in zip(within, coarsest, strict=True)]


def _read(predictor: Predictor, source: str | Path, name: str) -> Seen:
    """The whole image, resized as at inference."""
    opened = predictor.reader.open(source)
    prepared = predictor.reader.prepare(opened)
    image = prepared[:]
    raw = opened.image if opened.image.shape == image.shape else image
    header, inference = predictor.header, predictor.inference
    spacing = opened.grid.spacing if isinstance(opened, Volume) and header.spacing is None else header.spacing
    if isinstance(prepared, SeenScan):
        raw, spacing = image, prepared.spacing
    spacing, original = _of_slice(predictor, spacing), _of_slice(predictor, opened.image.shape[1:])
    if header.slices is not None:
        axis = header.slices.dim
        image = neighbouring_slices(image, axis, header.slices.neighbours)
        image, raw = (each.take(each.shape[axis + 1] // 2, axis + 1) for each in (image, raw))
    before, size = image.shape[1:], image.shape[1:]
    if inference.base_size is not None:
        size = fit_size(size, inference.base_size)
    elif len(inference.scales) == 1:
        size = tuple(max(1, round(n * inference.scales[0])) for n in size)
    spacing = spacing and tuple(s * n / m for s, n, m in zip(spacing, before, size, strict=True))
    return Seen(name, _resized(image, size), _resized(raw, size).numpy(), (0,) * len(size), size, original, spacing)


def _of_slice(predictor: Predictor, of_axes: Sequence[float] | None) -> tuple | None:
    """What each axis of an image has, without the axis of which the network sees a slice."""
    slices = predictor.header.slices
    return of_axes and tuple(each for axis, each in enumerate(of_axes) if slices is None or axis != slices.dim)


def _resized(image: np.ndarray, size: Sequence[int]) -> Tensor:
    made = torch.from_numpy(np.array(image))  # a copy, as files may be read-only
    if tuple(made.shape[1:]) == tuple(size):
        return made
    resized = nd.resize(made.float()[None], size)[0]
    return resized.round().to(made.dtype) if made.dtype == torch.uint8 else resized


def _middle(whole: Seen, size: Sequence[int]) -> Seen:
    corner = tuple((n - s) // 2 for n, s in zip(whole.whole, size, strict=True))
    part = (slice(None), *(slice(c, c + s) for c, s in zip(corner, size, strict=True)))
    return Seen(whole.name, whole.image[part], whole.raw[part], corner, whole.whole, whole.original, whole.spacing)


def _cross(size: Sequence[int], query: Sequence[float]) -> np.ndarray:
    """(1, *S), set at a place and beside it along each axis."""
    place = [min(int(q * n), n - 1) for q, n in zip(query, size, strict=True)]
    found = np.zeros((1, *size), bool)
    thick = max(1, max(size[-2:]) // 100)  # seen in a small picture
    for axis in range(len(size)):
        arm = max(2, max(size[-2:]) // 40)
        line = [slice(p, p + thick) for p in place]
        line[axis] = slice(max(place[axis] - arm, 0), place[axis] + arm + 1)
        found[(0, *line)] = True
    return found
