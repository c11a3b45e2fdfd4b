"""Volumes as slices to learn from: each slice with its neighbours as channels, and scans whole for scores."""

import numpy as np
import pytest

from densevit.data.dataset import Sample
from densevit.data.foreground import draw_slice, foreground_voxels
from densevit.inference import SliceOptions
from densevit.inference.network import neighbouring_slices
from densevit.volumes.grid import Grid

SIZE = (5, 6, 7)


def volume(label=None):
    image = np.random.default_rng(0).normal(size=(2, *SIZE)).astype(np.float32)
    label = np.arange(np.prod(SIZE)).reshape(SIZE).astype(np.uint8) if label is None else label
    return Sample(image=image, label=label, grid=Grid.at_origin(SIZE, (3.0, 1.0, 1.0)), meta=dict(image="a", label="b"))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_a_slice_is_what_prediction_shows_the_network(axis, neighbours):
    options, sample = SliceOptions(axis=axis, neighbours=neighbours), volume()
    seen = neighbouring_slices(sample.image, axis, neighbours)
    places = set()
    for seed in range(60):
        drawn = draw_slice(sample, np.random.default_rng(seed), slices=options)
        place = next(i for i in range(SIZE[axis]) if np.array_equal(sample.label.take(i, axis), drawn.label))
        np.testing.assert_array_equal(drawn.image, seen.take(place, axis + 1))
        places.add(place)
    assert places == set(range(SIZE[axis]))


def test_slices_that_hold_a_class_are_drawn_more_often():
    label = np.zeros(SIZE, np.uint8)
    label[3, 2, 2] = 1
    sample = volume(label)
    known = Sample(image=sample.image, label=label, grid=sample.grid, foreground=foreground_voxels(label, 2))
    options = SliceOptions(axis="axial")
    share = np.mean([draw_slice(known, np.random.default_rng(s), slices=options).label.any() for s in range(400)])
    assert share == pytest.approx(0.5 + 0.5 / 5, abs=0.07)
