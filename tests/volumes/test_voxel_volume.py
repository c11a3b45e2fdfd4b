"""The volume of a voxel is the determinant of its affine: a tilted gantry shears voxels, which makes them smaller."""

import json

import nibabel
import numpy as np
import pytest

from densevit.doctor.fingerprint.measure import take_fingerprint
from densevit.predictor.structures import measure_structures
from densevit.report.preview import draw_preview
from densevit.volumes.grid import Grid
from densevit.volumes.volume import open_volume

TILT = np.radians(25)
TILTED = np.array([[-1, 0, 0, 0], [0, -np.cos(TILT), 0, 0], [0, -np.sin(TILT), 3, 0], [0, 0, 0, 1.0]])
ML = 1000 * 3 * np.cos(TILT) / 1000  # of 1000 voxels
NAMES = dict(classes=["background", "box"], values=[0, 1])


@pytest.fixture
def tilted(tmp_path):
    """A scan of a tilted gantry with a box of 1000 voxels, as a Decathlon set."""
    label = np.zeros((20, 20, 20), np.uint8)
    label[5:15, 5:15, 5:15] = 1
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        nibabel.save(nibabel.Nifti1Image(label, TILTED), tmp_path / folder / "a.nii.gz")
    entry = dict(image="imagesTr/a.nii.gz", label="labelsTr/a.nii.gz")
    content = dict(labels={"0": "background", "1": "box"}, modality={"0": "CT"}, training=[entry])
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    return tmp_path


def test_millilitres_are_those_of_the_sheared_voxels_wherever_they_are_told(tilted):
    volume = open_volume(tilted / "imagesTr" / "a.nii.gz")
    label = volume.image[0].astype(np.uint8)
    found = measure_structures(label, volume.image, grid=volume.grid, **NAMES)
    assert found["box"]["ml"] == pytest.approx(ML, abs=1e-5)
    (case,) = take_fingerprint(dict(type="msd", root=str(tilted))).cases
    assert case.milliliters[1] == pytest.approx(ML, abs=1e-5)
    (legend,) = draw_preview(volume, label, **NAMES).legends
    assert legend.get_texts()[0].get_text() == f"box  {ML:.3g} ml"


def test_a_grid_without_an_affine_has_pixels_of_one():
    assert Grid((4, 5)).voxel_volume == 1
    assert Grid.at_origin((4, 5, 6), (3.0, 2.0, 0.5)).voxel_volume == pytest.approx(3)
