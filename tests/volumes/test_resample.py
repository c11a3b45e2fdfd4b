"""Resampling: the same box in millimetres, exact on ramps, and back again; MONAI is the oracle."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from densevit.inference import NativeGrid
from densevit.inference.native import Restorer
from densevit.volumes.grid import Grid
from densevit.volumes.resample import resample_image, resample_label, resampled_grid, working_size
from tools.peers import import_peer

OBLIQUE = np.array([[0.75, 0.1, 0.0, 3.0], [0.0, 0.74, 0.2, -5.0], [0.0, 0.05, 2.5, 7.0], [0.0, 0.0, 0.0, 1.0]])
SIZES = st.tuples(*[st.integers(1, 9)] * 3)


def places(grid):
    """Millimetres of every voxel centre (D, H, W, 3)."""
    steps = np.stack(np.meshgrid(*map(np.arange, grid.size), indexing="ij"), axis=-1)[..., ::-1]
    return steps @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def ramp(grid):
    """A linear function of the place."""
    return (places(grid) @ (2.0, 3.0, 5.0))[None].astype(np.float32)


def inside(grid, other):
    """Voxels of `other` whose centre lies between centres of `grid`."""
    index = (places(other) - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T
    return ((index > -1e-6) & (index < np.array(grid.size[::-1]) - 1 + 1e-6)).all(-1)


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 1.5), (5.0, 0.5, 0.7), (2.0, 3.0, 3.0)], ids=str)
def test_a_linear_ramp_stays_exact_on_an_oblique_grid(spacing):
    grid = Grid((20, 33, 28), OBLIQUE)
    other = resampled_grid(grid, working_size(grid, spacing))
    difference = np.abs(resample_image(ramp(grid), other.size) - ramp(other))[0]
    assert difference[inside(grid, other)].max() < 1e-3
    assert inside(grid, other).mean() > 0.7
    np.testing.assert_allclose(other.spacing, spacing, rtol=0.1)


@given(SIZES, SIZES)
def test_the_new_grid_fills_the_same_box(size, new):
    grid = Grid(size, OBLIQUE)
    other = resampled_grid(grid, new)
    for corner in ((0, 0, 0), (1, 1, 1), (1, 0, 1)):
        ends = [np.append(np.array(corner) * np.array(g.size[::-1]) - 0.5, 1) for g in (grid, other)]
        np.testing.assert_allclose(other.affine @ ends[1], grid.affine @ ends[0], atol=1e-9)


@given(SIZES, st.integers(1, 5))
def test_labels_whose_spacing_stays_come_back_bit_for_bit(size, classes):
    label = np.random.default_rng(0).integers(0, classes, size).astype(np.uint8)
    assert resample_label(label, working_size(Grid(size, OBLIQUE), Grid(size, OBLIQUE).spacing)) is label


def test_spacings_that_differ_by_rounding_are_not_resampled():
    grid = Grid((400, 512, 512), np.diag([0.9765625, 0.9765625, 1.0, 1.0]))
    assert working_size(grid, (1.0002, 0.9766, 0.9766)) == grid.size
    assert working_size(grid, None) == grid.size
    assert working_size(Grid((1, 512, 512), grid.affine), (5.0, 1.0, 1.0))[0] == 1


def test_a_label_that_is_doubled_and_halved_comes_back():
    label = np.random.default_rng(0).integers(0, 4, (5, 6, 7)).astype(np.uint8)
    doubled = resample_label(label, (10, 12, 14))
    np.testing.assert_array_equal(resample_label(doubled, label.shape), label)


def test_a_label_goes_where_most_of_its_surroundings_agree():
    """As one-hot maps that are interpolated and compared would have it, for values that are no class numbers too."""
    label = np.random.default_rng(0).choice([0, 3, 255], (7, 8, 9)).astype(np.uint8)
    shares = np.stack([label == value for value in (0, 3, 255)]).astype(np.float32)
    expected = np.array([0, 3, 255], np.uint8)[resample_image(shares, (10, 5, 13)).argmax(0)]
    np.testing.assert_array_equal(resample_label(label, (10, 5, 13)), expected)


def test_logits_return_to_the_grid_that_an_image_came_from():
    """A ramp that went to the working grid and back through the engine's own restoring is the ramp again."""
    grid = Grid((12, 14, 10), OBLIQUE)
    working = resampled_grid(grid, working_size(grid, (4.0, 1.0, 1.2)))
    native = NativeGrid.same_extent(grid.size, working.size)
    restorer = Restorer(native, working_size=working.size, axis=0, reduce=lambda logits: logits)
    planes = [result for _, result in restorer.push(0, torch.from_numpy(ramp(working)))]
    difference = np.abs(torch.cat(planes, 1).numpy() - ramp(grid))[0]
    assert difference[inside(working, grid)].max() < 1e-3


@pytest.mark.parity
def test_monai_gives_the_same_values_at_the_same_places():
    """MONAI's Spacing puts its first voxel elsewhere; told our places by its own SpatialResample, it agrees."""
    transforms, data = import_peer("monai.transforms"), import_peer("monai.data")
    grid = Grid((9, 12, 10), np.diag([0.8, 0.8, 3.0, 1.0]))
    image = np.random.default_rng(0).normal(size=(1, *grid.size)).astype(np.float32)
    other = resampled_grid(grid, working_size(grid, (2.0, 1.1, 1.1)))
    there = data.MetaTensor(torch.from_numpy(image.transpose(0, 3, 2, 1).copy()), affine=torch.tensor(grid.affine))
    resampled = transforms.SpatialResample(mode="bilinear", padding_mode="border", align_corners=False)(
        there, dst_affine=torch.tensor(other.affine), spatial_size=other.size[::-1]
    )
    np.testing.assert_allclose(resample_image(image, other.size), resampled.numpy().transpose(0, 3, 2, 1), atol=1e-4)
