"""nnU-Net's prediction of one scan, step by step in the words of scipy and scikit-image, with sums in float32."""

from itertools import combinations, product

import numpy as np
import torch
from scipy.ndimage import binary_fill_holes, gaussian_filter, map_coordinates
from skimage.transform import resize

RATIO = 3


def predict(networks, image, spacing, *, plan, normalize, order, mirrored=()):
    """(C, Z, Y, X) with its spacing -> label (Z, Y, X); `normalize` maps a channel and the mask of what is not 0."""
    image = image.transpose(0, *(1 + axis for axis in order))
    own = [spacing[axis] for axis in order]
    target = [*own[: 3 - len(plan["spacing"])], *plan["spacing"]]
    mask = binary_fill_holes((image != 0).any(0))
    box = tuple(slice(where.min(), where.max() + 1) for where in np.where(mask))
    part, inside = image[(slice(None), *box)], mask[box]
    channels = np.stack([normalize(channel.copy(), inside) for channel in part])
    size = [round(a / b * n) for a, b, n in zip(own, target, part.shape[1:], strict=True)]
    seen = resample(channels, size, lone_axis(own, target), order=3)
    logits = np.mean([blended(network, seen, plan["patch_size"], mirrored) for network in networks], axis=0)
    logits = resample(logits, part.shape[1:], lone_axis(target, own), order=1)
    label = np.zeros(image.shape[1:], np.uint8)
    label[box] = logits.argmax(0)
    return label.transpose(np.argsort(order))


def lone_axis(first, second):
    for spacing in (first, second):
        if max(spacing) / min(spacing) > RATIO:
            coarsest = [axis for axis, mm in enumerate(spacing) if mm == max(spacing)]
            return coarsest[0] if len(coarsest) == 1 else None
    return None


def resample(image, size, axis, *, order):
    options = dict(order=order, mode="edge", anti_aliasing=False)
    if tuple(size) == image.shape[1:]:
        return image
    if axis is None:
        return np.stack([resize(channel.astype(float), size, **options) for channel in image]).astype(np.float32)
    within = [n for d, n in enumerate(size) if d != axis]
    made = []
    for channel in image:
        slices = [resize(each.astype(float), within, **options) for each in np.moveaxis(channel, axis, 0)]
        places = len(slices) / size[axis] * (np.arange(size[axis]) + 0.5) - 0.5
        nearest = map_coordinates(np.arange(len(slices)), [places], order=0, mode="nearest")
        made.append(np.stack([slices[k] for k in nearest], axis))
    return np.stack(made).astype(np.float32)


def blended(network, image, patch, mirrored):
    """Logits (K, *S); a patch of two axes is seen in each slice."""
    patch = [*[1] * (3 - len(patch)), *patch]
    missing = [max(p - n, 0) for p, n in zip(patch, image.shape[1:], strict=True)]
    padded = np.pad(image, [(0, 0), *((m // 2, m - m // 2) for m in missing)])
    weights = np.zeros(patch)
    weights[tuple(p // 2 for p in patch)] = 1
    weights = gaussian_filter(weights, [p / 8 for p in patch], mode="constant")
    total, counts = 0, np.zeros(padded.shape[1:])
    for start in product(*map(starts, padded.shape[1:], patch)):
        place = tuple(slice(s, s + p) for s, p in zip(start, patch, strict=True))
        logits = mean_of_mirrors(network, torch.from_numpy(padded[(slice(None), *place)].copy())[None], mirrored)
        total = np.zeros((len(logits), *counts.shape)) if counts.sum() == 0 else total
        total[(slice(None), *place)] += logits * weights
        counts[place] += weights
    back = tuple(slice(m // 2, m // 2 + n) for m, n in zip(missing, image.shape[1:], strict=True))
    return (total / counts)[(slice(None), *back)].astype(np.float32)


def starts(size, patch):
    steps = int(np.ceil((size - patch) / (patch / 2 if patch > 1 else 1)))
    return [int(np.round((size - patch) / max(steps, 1) * i)) for i in range(steps + 1)]


@torch.no_grad()
def mean_of_mirrors(network, window, mirrored):
    """`network` takes pictures where the window has one slice and `mirrored` two axes at most."""
    flat = window.shape[2] == 1 and getattr(network, "of_pictures", False)
    window = window[:, :, 0] if flat else window
    views = [c for n in range(len(mirrored) + 1) for c in combinations([axis + 2 for axis in mirrored], n)]
    logits = sum(network(window.flip(axes)).flip(axes) for axes in views)[0] / len(views)
    return (logits[:, None] if flat else logits).numpy()
