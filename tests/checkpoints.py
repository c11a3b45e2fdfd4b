"""A tiny checkpoint with random weights, for the tests that need some model to run."""

import torch

from densevit import create_segmentor
from densevit.data.layouts import cityscapes
from densevit.weights import save_weights

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def save_tiny_checkpoint(path, *, num_classes=19, classes=None, palette=None, inference=None, **model_options):
    """A SegFormer-B0 with a narrow head and random weights at `path`; its classes are Cityscapes' if there are 19."""
    description = dict(
        backbone="mit_b0", decoder="all_mlp", num_classes=num_classes, decoder_options=dict(dim=16), **model_options
    )
    torch.manual_seed(0)
    model = create_segmentor(**description)
    torch.nn.init.normal_(model.head.weight)  # so that more than one class is predicted
    if classes is None:
        classes = cityscapes.CLASSES if num_classes == 19 else [f"class {i}" for i in range(num_classes)]
    if palette is None and num_classes == 19:
        palette = cityscapes.PALETTE
    volumes = model_options.get("spatial_dims", 2) == 3
    header = dict(
        model=description,
        classes=list(classes),
        palette=None if palette is None else [list(map(int, colour)) for colour in palette],
        inference=inference or dict(mode="whole"),
        normalization=dict(type="zscore") if volumes else dict(mean=MEAN, std=STD),
    )
    save_weights(model, path, config=header)
    return path
