"""A small model of volumes with random weights, and scans for it."""

from itertools import permutations, product

import nibabel
import numpy as np
import torch
import torch.nn.functional as F
from nibabel.orientations import axcodes2ornt, ornt_transform

from densevit import create_segmentor
from densevit.weights import save_weights

SIZE = (24, 22, 26)  # X, Y, Z
AFFINE = np.array([[1.4, 0.1, 0.0, -9], [-0.1, 1.5, 0.05, 8], [0.0, -0.05, 2.0, 4], [0, 0, 0, 1]])
ORIENTATIONS = ["".join(c) for p in permutations(("LR", "AP", "IS")) for c in product(*p)]


def save_checkpoint(path, *, in_channels=1, **header):
    """Three classes, 16 x 16 x 16 windows; `header` overrides what the file says about itself."""
    description = dict(
        backbone="mit_b0",
        decoder="all_mlp",
        num_classes=3,
        spatial_dims=3,
        in_channels=in_channels,
        backbone_options=dict(dims=(8, 16, 40, 64), depths=(1, 1, 1, 1)),
        decoder_options=dict(dim=16),
    )
    torch.manual_seed(0)
    model = create_segmentor(**description)
    torch.nn.init.normal_(model.head.weight)
    content = dict(
        model=description,
        classes=["background", "liver", "tumour"],
        label_values=[0, 2, 7],
        inference=dict(mode="slide_gaussian", roi_size=[16, 16, 16], stride=[8, 8, 8]),
        normalization=dict(type="zscore", percentiles=[0.5, 99.5]),
    )
    save_weights(model, path, config=content | header)
    return path


def save_scan(path, *, axes="RAS", affine=AFFINE, size=SIZE, seed=0):
    """Smooth noise, given in RAS, stored in the orientation `axes`."""
    coarse = torch.randn(1, 1, 6, 6, 6, generator=torch.Generator().manual_seed(seed))
    values = F.interpolate(coarse, size, mode="trilinear")[0, 0].numpy() * 300
    image = nibabel.Nifti1Image(values.astype(np.int16), affine)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(tuple(axes)))), path)
    return path
