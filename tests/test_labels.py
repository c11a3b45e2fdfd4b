import numpy as np
import pytest
import torch
from torch import nn

from densevit.inference import InferenceOptions, sliding_window
from densevit.labels import label_type
from densevit.predictor.labels import label_image


@pytest.mark.parametrize(
    ("num_classes", "expected"), [(1, np.uint8), (255, np.uint8), (256, np.uint16), (65535, np.uint16)]
)
def test_bytes_hold_as_many_classes_as_keep_255_free(num_classes, expected):
    assert label_type(num_classes) == expected


class Classes(nn.Module):
    """Logits of which the last class is always the largest, in 2D and 3D."""

    divisor = (1, 1, 1)

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes

    def forward(self, x):
        rising = torch.arange(float(self.num_classes)).view(1, -1, *[1] * (x.ndim - 2))
        return rising + x[:, :1]


@pytest.mark.parametrize("num_classes", [255, 256])
def test_the_256th_class_is_not_taken_for_the_ignored_one(tmp_path, num_classes):
    for size in ((9, 7), (5, 9, 7)):
        image = torch.rand(1, *size)
        path = sliding_window(Classes(num_classes), image, roi_size=4, reduce="labels", out=tmp_path / "labels.npy")
        stored = np.load(path)
        assert (stored.dtype, stored.min()) == (label_type(num_classes), num_classes - 1)
    image = torch.rand(1, 5, 9, 7)
    label = label_image(Classes(num_classes), image, options=InferenceOptions(mode="slide_gaussian", roi_size=4))
    assert (label.dtype, label.min()) == (label_type(num_classes), num_classes - 1)
