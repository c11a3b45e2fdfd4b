"""Grids that share the centre of their first voxel, or where affines are rounded the halves of their sizes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from densevit.volumes.first_centre import lay_grids

SPACING = np.array([1.4, 1.5, 2.0])
TURN = Rotation.from_euler("xyz", [4, -3, 5], degrees=True).as_matrix()
SIZE, WANTED = (25, 22, 27), (1.8, 0.9, 2.7)


@pytest.mark.parametrize(
    "axes", [np.diag(SPACING), np.diag(-SPACING), TURN * SPACING], ids=["straight", "back", "turned"]
)
def test_voxels_of_the_new_grid_begin_with_the_first_old_one(axes):
    new, old = lay_grids(axes, SIZE, WANTED)
    assert new.size == tuple(round((n - 1) * own / mm + 1) for n, own, mm in zip(SIZE, SPACING, WANTED, strict=True))
    assert new.scale == pytest.approx(np.array(WANTED) / SPACING)
    assert old.scale == pytest.approx(SPACING / np.array(WANTED))
    assert (old.size, new.offset, old.offset) == (SIZE, (0, 0, 0), (0, 0, 0))


def test_axes_that_were_rounded_have_the_halves_of_both_sizes_in_one_place():
    new, old = lay_grids((TURN * SPACING).astype(np.float32).astype(float), SIZE, WANTED)
    for grid, size, other in ((new, new.size, SIZE), (old, SIZE, new.size)):
        halves = np.array(grid.scale) * np.array(size) / 2 + grid.offset
        np.testing.assert_allclose(halves, np.array(other) / 2)
    assert max(np.abs(new.offset)) > 0.1


def test_a_spacing_that_is_there_or_not_asked_for_leaves_the_scan_as_it_is():
    new, old = lay_grids(TURN * SPACING, SIZE, (1.4004, None, 2.0))
    assert new.is_same(SIZE)
    assert old.is_same(SIZE)
