"""What the numbers of a scan are: Hounsfield units that are none, and images that do not belong together."""

import numpy as np
import pytest
from pydicom import Dataset

from densevit.volumes.modality import check_modality, modalities_of_normalization, modality_of_name
from densevit.volumes.volume import ReadOptions, open_volume, read_grid
from tests.volumes.dicom_files import multi_frame, save, save_file, series, why_not, worst_error

SCALE = ("RescaleSlope", "RescaleIntercept")


def change(slices, **elements):
    for each in slices:
        for name, value in elements.items():
            if value is None:
                delattr(each, name)
            else:
                setattr(each, name, value)
    return slices


def unscaled(slices):
    return change(slices, **dict.fromkeys(SCALE))


def test_a_ct_of_which_one_slice_is_not_rescaled_is_refused_with_its_name(tmp_path):
    slices = series(intercept=-1024.0)
    unscaled(slices[3:4])
    paths = save(tmp_path, slices)
    sentence = why_not(tmp_path, stored_values=True)
    assert f"{paths[3]} does not say how its values become Hounsfield units, as {tmp_path}" in sentence
    assert "1 of 6 slices" in sentence
    with pytest.raises(ValueError, match="1 of 6 slices"):
        read_grid(tmp_path)


@pytest.mark.parametrize("modality", ["CT", "PT"])
def test_a_series_that_is_not_rescaled_at_all_is_read_on_request_alone(tmp_path, modality):
    save(tmp_path, change(unscaled(series()), Modality=modality))
    assert why_not(tmp_path).endswith("or take the values for what they are with stored_values=True")
    assert worst_error(open_volume(tmp_path, options=ReadOptions(stored_values=True))) <= 0.5 + 1e-3


def test_mr_need_not_be_rescaled_but_not_by_half(tmp_path):
    save(tmp_path / "a", change(unscaled(series()), Modality="MR"))
    volume = open_volume(tmp_path / "a")
    assert volume.modalities == ("MR",)
    slices = change(series(), Modality="MR")
    unscaled(slices[:2])
    save(tmp_path / "b", slices)
    assert worst_error(open_volume(tmp_path / "b")) <= 0.5 + 1e-3  # by 1 and 0, which is the same
    slices[4].RescaleSlope = 2.0
    save(tmp_path / "c", slices)
    assert "2 of 6 slices" in why_not(tmp_path / "c")


def test_a_frame_of_an_enhanced_ct_that_is_not_rescaled_is_refused(tmp_path):
    data = multi_frame(series(intercept=-1024.0))
    del data.PerFrameFunctionalGroupsSequence[2].PixelValueTransformationSequence
    path = save_file(tmp_path / "many.dcm", data)
    assert f"frame 3 of {path} does not say how its values become Hounsfield units" in why_not(path)


def test_a_ct_in_another_unit_is_known_as_such_and_two_units_are_no_series(tmp_path):
    slices = change(series(), RescaleType="MGML")
    save(tmp_path / "a", slices)
    assert open_volume(tmp_path / "a").modalities == ("CT (MGML)",)
    change(slices[:3], RescaleType="HU")
    save(tmp_path / "b", slices)
    assert "of the same series CT" in why_not(tmp_path / "b")
    pet = change(series(), Modality="PT", Units="BQML")
    assert open_volume(save(tmp_path / "c", pet)[0]).modalities == ("PT (BQML)",)
    pet[1].Units = "GML"
    save(tmp_path / "d", pet)
    assert "of the same series PT (" in why_not(tmp_path / "d")


def test_a_table_of_another_unit_is_no_hounsfield_unit(tmp_path):
    slices = unscaled(series())
    for each in slices:
        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [4, 0, 16], "OD", bytes(8)
        each.ModalityLUTSequence = [table]
        each.PixelRepresentation = 0
    save(tmp_path, slices)
    assert open_volume(tmp_path).modalities == ("CT (OD)",)


@pytest.mark.parametrize(
    ("elements", "differs"),
    [(dict(PatientID="2"), "PatientID"), (dict(PatientName="B"), "PatientName"), (dict(Modality="MR"), None)],
)
def test_patients_and_modalities_under_one_uid_are_several_series(tmp_path, elements, differs):
    slices = change(series(), PatientName="A")
    paths = save(tmp_path, change(slices[:3], **elements) + slices[3:])
    sentence = why_not(tmp_path)
    assert "holds 2 image series" in sentence
    if differs:
        assert f"under one SeriesInstanceUID, whose files differ in {differs}" in sentence
        assert "put each in a folder of its own" in sentence
    else:
        assert sentence.endswith(("such as modality='MR'", "such as modality='CT'"))
        chosen = open_volume(tmp_path, options=ReadOptions(modality="CT"))
        assert (chosen.grid.size, chosen.modalities) == ((3, 7, 9), ("CT",))
    assert open_volume(paths[0]).grid.size == open_volume(paths[5]).grid.size == (3, 7, 9)


def test_a_modality_is_chosen_among_a_patients_series(tmp_path):
    save(tmp_path / "a", series(4))
    save(tmp_path / "b", change(series(5), Modality="MR", SeriesNumber=5))
    assert why_not(tmp_path).endswith("such as series='3' or modality='CT'")
    assert open_volume(tmp_path, options=ReadOptions(modality="MR")).grid.size == (5, 7, 9)
    assert "holds 0 image series of modality 'PT'; choose the UID of one of these" in why_not(tmp_path, modality="PT")
    assert "is of series number 3" in why_not(next((tmp_path / "a").iterdir()), modality="MR")


def test_files_of_one_series_are_no_channels(tmp_path):
    paths = save(tmp_path, series())
    with pytest.raises(ValueError, match="are of one DICOM series, and each is to be a channel; give one of them"):
        open_volume(paths[:2])


def test_what_a_file_says_of_its_frames_is_checked(tmp_path):
    path = save_file(tmp_path / "none.dcm", change(series(1), NumberOfFrames=0)[0])
    assert "says that it holds 0 frames, and it must be 1 at least" in why_not(path)
    assert "says that it holds 0 frames" in why_not(tmp_path)


def test_pixels_beyond_what_the_header_says_are_no_picture(tmp_path):
    slices = series(3)
    for each in slices:
        each.Rows -= 2  # and the pixels of all stay
    save(tmp_path, slices)
    assert ".dcm is damaged: 126 bytes of pixels are there, and its header announces 90" in why_not(tmp_path)


def test_channels_are_known_by_their_names():
    names = ["CT", "cta", "PET", "T1w", "CT-PET", "image", "ct/*.nii.gz", "pectoral"]
    assert [modality_of_name(name) for name in names] == ["CT", "CT", "PT", "MR", "", "", "", ""]


@pytest.mark.parametrize(
    ("config", "kinds"),
    [
        (dict(type="ct", low=-100, high=200, mean=0, std=1), ("CT", "CT")),
        (dict(type="window", low=-100, high=200), ("CT", "CT")),
        (dict(type="window", low=0, high=20), ("", "")),  # of SUV, perhaps
        (dict(type="zscore"), ("", "")),
        (dict(type="by_channel", channels=[dict(type="window", low=-1, high=2), dict(type="zscore")]), ("CT", "")),
    ],
    ids=str,
)
def test_a_normalisation_says_what_its_numbers_are(config, kinds):
    assert modalities_of_normalization(config, 2) == kinds


@pytest.mark.parametrize("found", ["MR", "CT (MGML)", "PT (BQML)"])
def test_another_kind_of_image_is_refused_and_an_unknown_one_is_not(found):
    with pytest.raises(ValueError, match=r"scan is .*, and the model is for CT in Hounsfield units: .*modality='CT'"):
        check_modality("scan", (found,), ("CT",))
    for fits in (("",), ("CT",), ()):
        check_modality("scan", fits, ("CT",))
    check_modality("scan", (found,), ("",))
    check_modality("scan", ("PT (BQML)",), ("PT",))
    with pytest.raises(ValueError, match=r"channel 1 of scan is PT \(BQML\), and this set is for PT \(GML\)"):
        check_modality("scan", ("CT", "PT (BQML)"), ("CT", "PT (GML)"), who="this set")


def test_a_scan_of_several_files_knows_the_modality_of_each(tmp_path):
    save(tmp_path / "ct", series())
    save(tmp_path / "pet", change(series(), Modality="PT", Units="BQML"))
    both = open_volume([tmp_path / "ct", tmp_path / "pet"])
    assert both.modalities == ("CT", "PT (BQML)")
    assert np.array_equal(both.image[0], both.image[1])
