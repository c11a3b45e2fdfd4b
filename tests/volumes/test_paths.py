"""Which files are scans, and what a scan is called."""

import nibabel
import numpy as np
import pytest

from densevit.volumes.volume import case_name, open_volume


def test_other_files_are_told_what_can_be_read(tmp_path):
    (tmp_path / "scan.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match=r"scan.png is no scan that can be read; give .nii.gz, .nii, .nrrd"):
        open_volume(tmp_path / "scan.png")
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_volume(tmp_path / "scan.nii")
    nibabel.save(nibabel.AnalyzeImage(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "a.img")
    with pytest.raises(ValueError, match=r"a.img is no scan that can be read"):
        open_volume(tmp_path / "a.img")


def test_a_case_is_called_as_its_file_or_folder(tmp_path):
    (tmp_path / "v1.2").mkdir()
    names = {
        "a.nii.gz": "a",
        "b.1.NII": "b.1",
        "c.seg.nrrd": "c",
        "d.mha": "d",
        "e.dcm": "e",
        "CT.1.2.840": "CT.1.2.840",
    }
    assert {name: case_name(tmp_path / name) for name in names} == names
    assert case_name(tmp_path / "v1.2") == "v1.2"
    assert case_name(str(tmp_path / "v1.2" / "..")) == tmp_path.name
