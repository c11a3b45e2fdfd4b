"""Planes of a volume for a sheet of predictions."""

import numpy as np
import pytest

from densevit.report import prediction_sheet
from densevit.report.planes import MOST, thickest, volume_rows


@pytest.fixture
def volume():
    """10 x 20 x 30 voxels with one organ to the right, in front, at the head."""
    image, label = np.full((10, 20, 30), -1000.0), np.zeros((10, 20, 30), np.uint8)
    label[6:9, 14:18, 20:26] = 1
    image[label == 1] = 100
    return image, label


def test_the_right_of_the_patient_is_on_the_left_and_the_front_and_the_head_are_on_top(volume):
    image, label = volume
    axial, coronal = volume_rows(image, label, label, spacing=(1.0, 1.0, 1.0))
    for rows, columns, (shown, truth, predicted) in (((2, 6), (4, 10), axial), ((1, 4), (4, 10), coronal)):
        found = np.argwhere(truth == 1)
        assert (found.min(0) == (rows[0], columns[0])).all()
        assert (found.max(0) + 1 == (rows[1], columns[1])).all()
        assert np.array_equal(truth, predicted)
        assert shown.dtype == np.uint8
        assert np.array_equal(shown[..., 0] > 128, truth == 1)


def test_planes_have_the_proportions_of_the_body(volume):
    image, label = volume
    axial, coronal = volume_rows(image, label, label, spacing=(5.0, 1.0, 2.0))
    assert axial[0].shape == (20, 60, 3)
    assert coronal[0].shape == (25, 30, 3)


def test_fine_scans_are_thinned(volume):
    image, label = (np.repeat(part, 40, axis=2) for part in volume)
    axial, _ = volume_rows(image, label, label, spacing=(1.0, 1.0, 1.0))
    assert axial[0].shape[:2] == (round(20 * MOST / 1200), MOST)


def test_a_sheet_is_drawn_of_them_with_what_is_ignored(volume, tmp_path):
    image, label = volume
    label[0] = 255
    rows = volume_rows(image, label, np.zeros_like(label), spacing=(2.0, 1.0, 1.0))
    path = prediction_sheet(rows, tmp_path / "sheet.png", palette=[(0, 0, 0), (200, 0, 0)], classes=["none", "organ"])
    assert path.stat().st_size > 1000


def test_a_volume_without_structures_is_cut_in_its_middle(volume):
    image, label = volume
    label[:] = 0
    axial, _ = volume_rows(image + np.arange(10)[:, None, None] * 40, label, label, spacing=(1.0, 1.0, 1.0))
    assert not axial[1].any()


def test_what_does_not_lie_on_one_grid_is_refused(volume):
    image, label = volume
    with pytest.raises(ValueError, match="expected image, truth and prediction of one size, got"):
        volume_rows(image, label[1:], label, spacing=(1.0, 1.0, 1.0))


def test_the_thickest_part_of_a_mask_is_found_in_its_middle():
    mask = np.zeros((20, 30), bool)
    mask[2, 1:29] = True
    mask[10:17, 4:11] = True
    assert thickest(mask, (1, 1)) == (13, 7)
    assert thickest(np.zeros_like(mask), (1, 1)) is None


def test_the_thickest_part_is_measured_in_mm():
    mask = np.zeros((30, 40), bool)
    mask[2:5, 2:35] = True  # 3 rows of 5 mm
    mask[10:19, 5:14] = True  # 9 columns of 1 mm
    assert thickest(mask, (5, 1))[0] == 3
    assert thickest(mask, (1, 1)) == (14, 9)
