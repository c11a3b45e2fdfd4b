"""Measurements of structures against their definition, voxel by voxel."""

import nibabel
import numpy as np
import pytest

from densevit.predictor.structures import Cleaning, measure_structures, structure_boxes, table_rows
from densevit.volumes.grid import Grid
from densevit.volumes.volume import open_volume
from tests.predictor.scans import AFFINE, ORIENTATIONS, save_scan

CLASSES, VALUES = ("background", "liver", "tumour", "cyst"), [0, 2, 7, 300]


def measured(path):
    volume = open_volume(path)
    label = np.zeros(volume.grid.size, np.uint16)
    label[volume.image[0] > 50] = 2
    label[volume.image[0] > 200] = 7
    return volume, label, measure_structures(label, volume.image, grid=volume.grid, classes=CLASSES, values=VALUES)


def test_each_number_is_what_its_definition_says(tmp_path):
    volume, label, found = measured(save_scan(tmp_path / "scan.nii"))
    stored = np.asarray(nibabel.load(tmp_path / "scan.nii").dataobj).astype(float)
    own = volume.on_own_axes(label)
    voxel = abs(np.linalg.det(AFFINE[:3, :3]))
    for name, value in zip(CLASSES[:3], VALUES[:3], strict=True):
        row, inside = found[name], own == value
        assert (row["label"], row["voxels"]) == (value, inside.sum())
        assert row["ml"] == pytest.approx(inside.sum() * voxel / 1000, abs=1e-6)
        assert row["mean"] == [pytest.approx(stored[inside].mean(), rel=1e-5)]
        if value == 0:
            assert "box" not in row
            continue
        voxels = np.argwhere(inside)
        corners = np.concatenate([voxels + shift for shift in np.indices((2, 2, 2)).reshape(3, -1).T - 0.5])
        in_mm = corners @ AFFINE[:3, :3].T + AFFINE[:3, 3]
        np.testing.assert_allclose(row["box"], [in_mm.min(0), in_mm.max(0)], atol=2e-3)
        np.testing.assert_allclose(row["centroid"], in_mm.mean(0), atol=2e-3)
    assert found["cyst"] == dict(label=300, voxels=0, ml=0, mean=None, centroid=None, box=None)


def test_the_same_scan_in_another_orientation_measures_the_same(tmp_path):
    expected = measured(save_scan(tmp_path / "RAS.nii"))[2]
    for axes in ORIENTATIONS[::5]:
        found = measured(save_scan(tmp_path / f"{axes}.nii", axes=axes))[2]
        for name in CLASSES[:3]:
            assert found[name]["voxels"] == expected[name]["voxels"]
            np.testing.assert_allclose(found[name].get("box", 0), expected[name].get("box", 0), atol=0.01)


def test_a_row_of_the_table_is_flat_and_has_a_mean_for_each_channel(tmp_path):
    volume, label, found = measured(save_scan(tmp_path / "scan.nii"))
    row = next(row for row in table_rows("scan", found) if row["structure"] == "liver")
    assert (row["case"], row["label"], row["mean"]) == ("scan", 2, found["liver"]["mean"][0])
    assert row["centroid_anterior"] == found["liver"]["centroid"][1]
    assert (row["low_right"], row["high_superior"]) == (found["liver"]["box"][0][0], found["liver"]["box"][1][2])
    two = np.concatenate([volume.image, volume.image + 1])
    found = measure_structures(label, two, grid=volume.grid, classes=CLASSES, values=VALUES)
    row = next(row for row in table_rows("scan", found) if row["structure"] == "tumour")
    assert row["mean_1"] == pytest.approx(row["mean_0"] + 1, rel=1e-4)


def test_values_of_an_atlas_may_be_as_large_as_it_has_them():
    label = np.zeros((6, 7, 8), np.uint32)
    label[1:3, 2:5, 3:4], label[4:, :2, :] = 614454277, 9
    grid = Grid.at_origin(label.shape, (1.0, 1.0, 1.0))
    options = dict(classes=["background", "cortex", "a"], values=[0, 614454277, 9])
    found = measure_structures(label, label[None].astype(np.float32), grid=grid, **options)
    assert [found[name]["voxels"] for name in ("cortex", "a")] == [6, 32]
    assert found["cortex"]["box"] == [[2.5, 1.5, 0.5], [3.5, 4.5, 2.5]]
    label[5, 6, 7] = 614454277
    Cleaning(largest_component=["cortex"])(label, classes=options["classes"], values=options["values"])
    assert (label == 614454277).sum() == 6
    assert structure_boxes(np.full((2, 2, 2), 70_001), [5, 70_000]) == {}
