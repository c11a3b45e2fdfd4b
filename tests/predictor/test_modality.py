"""A model knows what it was trained on, and refuses scans that are known to be another kind of image."""

import logging

import nibabel
import numpy as np
import pytest

from densevit.predictor import Predictor, predict
from tests.predictor.scans import save_checkpoint
from tests.volumes.dicom_files import save, series

HOUNSFIELD = dict(normalization=dict(type="window", low=-175, high=250))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A patient's CT and MR, each in a folder."""
    folder = tmp_path_factory.mktemp("study")
    slices = series(8)
    save(folder / "CT", slices)
    for each in slices:
        each.Modality = "MR"
    save(folder / "MR", slices)
    return folder


@pytest.mark.parametrize("header", [HOUNSFIELD, dict(modality=["CT"])], ids=["by its numbers", "by training"])
def test_a_model_of_ct_makes_no_mask_of_an_mr(study, tmp_path, header):
    checkpoint = save_checkpoint(tmp_path / "w.safetensors", **header)
    report = predict(checkpoint, study, tmp_path / "out", progress=False, dicom_seg=True)
    assert [path.name for path in report.written] == ["CT"]
    (reason,) = report.failed.values()
    assert reason.startswith(f"{study / 'MR'} is MR, and the model is for CT in Hounsfield units")
    assert not list((tmp_path / "out").glob("MR*"))
    assert (tmp_path / "out" / "CT.dcm").is_file()


def test_a_model_that_says_nothing_of_it_takes_both(study, tmp_path):
    predictor = Predictor(save_checkpoint(tmp_path / "w.safetensors"))
    assert predictor.label(study / "MR").shape == predictor.label(study / "CT").shape


def test_a_file_that_tells_no_modality_and_has_no_air_is_warned_of(tmp_path, caplog):
    predictor = Predictor(save_checkpoint(tmp_path / "w.safetensors", **HOUNSFIELD))
    for name, lowest, warned in (("air", -1000, False), ("shifted", 24, True)):
        values = np.linspace(lowest, 900, 4096).reshape(16, 16, 16).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / f"{name}.nii")
        with caplog.at_level(logging.WARNING):
            predictor.label(tmp_path / f"{name}.nii")
        assert (f"{name}.nii holds no value below 0" in caplog.text) is warned
