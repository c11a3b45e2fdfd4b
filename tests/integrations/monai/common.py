"""A checkpoint of volumes and scans for MONAI's transforms and bundles."""

import nibabel
import numpy as np
import torch
import torch.nn.functional as F
from nibabel.orientations import axcodes2ornt, ornt_transform

from densevit import create_segmentor
from densevit.weights import save_weights

SIZE = (24, 22, 26)  # X, Y, Z
AFFINE = np.array([[1.4, 0.1, 0.0, -9], [-0.1, 1.5, 0.05, 8], [0.0, -0.05, 2.0, 4], [0, 0, 0, 1]])
VALUES = [0, 2, 7]
MODEL = dict(
    backbone="mit_b0",
    decoder="all_mlp",
    num_classes=3,
    spatial_dims=3,
    in_channels=1,
    backbone_options=dict(dims=(8, 16, 40, 64), depths=(1, 1, 1, 1)),
    decoder_options=dict(dim=16),
)


def save_checkpoint(path, *, model=None, **header):
    model = MODEL | (model or {})
    torch.manual_seed(0)
    segmentor = create_segmentor(**model)
    if model["decoder"] is not None:
        torch.nn.init.normal_(segmentor.head.weight)
        with torch.inference_mode():  # every class is the most probable one somewhere
            logits = segmentor.eval()(torch.randn(1, model["in_channels"], 32, 32, 32))
        segmentor.head.bias.data.copy_(-logits.mean((0, 2, 3, 4)))
    content = dict(
        model=model,
        classes=["background", "liver", "tumour"],
        label_values=VALUES,
        inference=dict(mode="slide_gaussian", roi_size=[16, 16, 16], stride=[8, 8, 8]),
        normalization=dict(type="zscore", percentiles=[0.5, 99.5]),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(segmentor, path, config=content | header)
    return path


def save_scan(path, *, axes="RAS", affine=AFFINE, size=SIZE, seed=0, label=False):
    """Smooth noise, or a label map of it, given in RAS, stored in the orientation `axes`."""
    coarse = torch.randn(1, 1, 6, 6, 6, generator=torch.Generator().manual_seed(seed))
    values = F.interpolate(coarse, size, mode="trilinear")[0, 0].numpy() * 300
    if label:
        values = np.array(VALUES)[np.digitize(values, (50, 150))]
    image = nibabel.Nifti1Image(values.astype(np.int16), affine)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(tuple(axes)))), path)
    return path
