import numpy as np
import pytest
import torch
from torch import nn

from densevit.inference import InferenceOptions, sliding_window
from densevit.labels import colorize, default_palette, label_type, overlay, parse_color, structure_colors
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


PALETTE = [(128, 64, 128), (244, 35, 232), (70, 70, 70)]


def test_palettes_tell_every_class_from_the_others():
    for palette in (default_palette(254), structure_colors(100)):
        assert len(set(palette)) == len(palette)
        assert np.array(palette).min() >= 0
        assert np.array(palette).max() <= 255
    assert structure_colors(1) == [(0, 0, 0)]


def test_colorize_gives_each_class_its_color_and_ignored_pixels_black():
    label = np.array([[0, 1], [2, 255]])
    expected = np.array([[PALETTE[0], PALETTE[1]], [PALETTE[2], (0, 0, 0)]], dtype=np.uint8)
    for dtype in (np.uint8, np.int32, np.int64):
        colors = colorize(label.astype(dtype), PALETTE, ignore_index=255)
        assert colors.dtype == np.uint8
        np.testing.assert_array_equal(colors, expected)


def test_colorize_takes_an_ignored_value_within_the_classes():
    np.testing.assert_array_equal(colorize(np.array([[0, 1]]), PALETTE, ignore_index=0), [[(0, 0, 0), PALETTE[1]]])


@pytest.mark.parametrize("value", [3, 7, -1, 254])
def test_colorize_names_a_value_without_color(value):
    with pytest.raises(ValueError, match=f"holds {value}, but the palette has colours for 0 to 2"):
        colorize(np.array([[0, value]]), PALETTE, ignore_index=255)


def test_overlay_mixes_the_image_and_the_colors_by_alpha():
    image = np.full((1, 2, 3), 100, dtype=np.uint8)
    label = np.array([[0, 255]])
    np.testing.assert_array_equal(
        overlay(image, label, palette=PALETTE, alpha=0.5)[0], [(114, 82, 114), (100, 100, 100)]
    )
    np.testing.assert_array_equal(overlay(image, label, palette=PALETTE, alpha=0.0), image)
    np.testing.assert_array_equal(overlay(image, label, palette=PALETTE, alpha=1.0)[0, 0], PALETTE[0])


def test_halves_are_rounded_to_the_even_colour():
    image, label = np.full((1, 2, 3), 101, np.uint8), np.array([[0, 0]], np.uint8)
    assert overlay(image, label, palette=[(200, 0, 100)])[0, 0].tolist() == [150, 50, 100]


def test_overlay_refuses_a_label_map_of_another_size():
    with pytest.raises(ValueError, match=r"size \(4, 5\) like its image, got \(5, 4\)"):
        overlay(np.zeros((4, 5, 3), dtype=np.uint8), np.zeros((5, 4), dtype=int), palette=PALETTE)


def test_what_is_no_colour_is_told_in_a_line_of_bounded_length():
    with pytest.raises(ValueError, match="is not a colour") as caught:
        parse_color([[0] * 1000])
    assert len(str(caught.value)) < 400
