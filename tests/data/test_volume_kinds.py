"""A set of scans is of one kind, by its files, names and numbers; its label values are those that files can hold."""

import numpy as np
import pytest

from densevit.data import create_dataset
from densevit.data.layouts.classes import named_labels
from densevit.volumes.formats.dicom_seg import write_dicom_seg
from densevit.volumes.volume import open_volume
from tests.volumes.dicom_files import save, series


@pytest.fixture
def scans(tmp_path):
    """Two CT series with a DICOM-SEG each, and an MR."""
    for name, modality in (("a", "CT"), ("b", "CT"), ("c", "MR")):
        slices = series(4)
        for each in slices:
            each.Modality = modality
        save(tmp_path / name / "dicom", slices)
        volume = open_volume(tmp_path / name / "dicom")
        label = np.zeros(volume.grid.size, np.uint8)
        label[1:3, 2:5, 2:5] = 1
        write_dicom_seg(label, volume, tmp_path / name / "seg.dcm", classes=["background", "box"], values=[0, 1])

    def open_set(**options):
        names = dict(images="*/dicom", labels="*/seg.dcm", classes=dict(background=0, box=1))
        return create_dataset(dict(type="volume_folder", root=str(tmp_path), **names, **options))

    return open_set


def test_a_set_knows_what_its_files_are(scans):
    dataset = scans(leave_out=["c"])
    assert dataset.modality == ("CT",)
    assert dataset[0].label.sum() == 18


def test_an_mr_among_ct_is_named(scans):
    with pytest.raises(ValueError, match=r"c/dicom is MR, and .*a/dicom of this set is for CT in Hounsfield units"):
        scans()


def test_an_mr_is_not_normalised_as_hounsfield_units(scans):
    window = dict(type="window", low=-175.0, high=250.0)
    assert scans(leave_out=["c"], normalization=window).modality == ("CT",)
    with pytest.raises(ValueError, match=r"c/dicom is MR, and this set is for CT in Hounsfield units"):
        scans(leave_out=["a", "b"], normalization=window)
    dataset = scans(leave_out=["a", "b"], normalization=window, check="load")
    with pytest.raises(ValueError, match="is MR, and this set is for CT"):
        dataset[0]


@pytest.mark.parametrize("labels", [{"background": 0, "x": 2**70}, {"0": "background", str(2**70): "x"}])
def test_a_label_value_that_no_file_holds_is_refused(labels):
    with pytest.raises(ValueError, match=f"dataset.json: a label is .* up to 2147483647, .*: {2**70}"):
        named_labels(labels, said_by="dataset.json")
