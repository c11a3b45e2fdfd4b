"""Pairs of masks that metrics are compared on: prediction and truth (*S), bool."""

import numpy as np
from scipy import ndimage

SIZES = [(24, 31), (15, 18, 13)]
SPACINGS = {2: [(1.0, 1.0), (0.7, 2.5)], 3: [(1.0, 1.0, 1.0), (3.0, 0.8, 0.7)]}
CASES = [(size, spacing) for size in SIZES for spacing in SPACINGS[len(size)]]
KINDS = ["blobs", "thin", "touching", "voxels", "full", "apart"]


def make_pair(kind, size, seed=0):
    rng = np.random.default_rng(seed)
    prediction, truth = np.zeros(size, bool), np.zeros(size, bool)
    if kind in ("blobs", "touching"):
        noise = ndimage.gaussian_filter(rng.normal(size=size), 1.5)
        change = ndimage.gaussian_filter(rng.normal(size=size), 1.5)
        truth, prediction = noise > 0.05, noise + 0.4 * change > 0.05
        if kind == "blobs":
            inner = ndimage.binary_erosion(np.ones(size, bool))
            truth, prediction = truth & inner, prediction & inner
    elif kind == "thin":  # a diagonal line of one voxel, and the same one voxel aside
        for i in range(2, min(size) - 2):
            truth[(i,) * len(size)] = True
            prediction[(i, *(i + 1,) * (len(size) - 1))] = True
    elif kind == "voxels":
        truth[(3,) * len(size)] = True
        prediction[(6, *(4,) * (len(size) - 1))] = True
    elif kind == "full":
        truth[:] = True
        prediction[2:] = True
    elif kind == "apart":
        truth[:3, :4] = True
        prediction[-3:, -5:] = True
    return prediction, truth


def one_hot(mask):
    """(*S) -> (1, 2, *S) float tensor of background and foreground, as MONAI takes it."""
    import torch

    foreground = torch.from_numpy(mask)[None, None]
    return torch.cat([~foreground, foreground], 1).float()
