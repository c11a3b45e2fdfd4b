"""DICOM that is no regular stack of slices, or several: refused in a sentence that names the file and the way out."""

import re
import tracemalloc
from copy import deepcopy

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import RLELossless, generate_uid

from densevit.volumes.volume import ReadOptions, open_volume
from tests.volumes.dicom_files import (
    CORONAL,
    SAGITTAL,
    make_slice,
    save,
    save_file,
    series,
    set_pixels,
    why_not,
    worst_error,
)


def test_a_tilted_gantry_is_refused_until_it_is_allowed_and_keeps_its_shear(tmp_path):
    tilt = np.tan(np.radians(15)) * 2.5
    paths = save(tmp_path, series(shear=(0, tilt)))
    with pytest.raises(ValueError, match=rf"tilted gantry, by 15 degrees: {paths[-1]} lies 3.35 mm beside"):
        open_volume(tmp_path)
    volume = open_volume(tmp_path, options=ReadOptions(allow_gantry_tilt=True))
    assert worst_error(volume) <= 0.5 + 1e-3
    assert volume.affine[1, 2] == pytest.approx(-tilt)


def test_a_missing_slice_is_named_and_the_longest_part_is_read_on_request(tmp_path, caplog):
    slices = series(9)
    paths = save(tmp_path, slices[:3] + slices[4:])
    assert why_not(tmp_path) == (
        f"{tmp_path} lacks 1 slice between {paths[2]} and {paths[3]}, where 5 mm lie and elsewhere 2.5; "
        "on_missing='split' reads the longest regular part, 5 slices"
    )
    volume = open_volume(tmp_path, options=ReadOptions(on_missing="split"))
    assert volume.grid.size == (5, 7, 9)
    assert worst_error(volume) <= 0.5 + 1e-3
    assert f"5 of 8 slices are read, from {paths[3]} to {paths[7]}" in caplog.text


def spoil(slices, kind):
    """Something wrong with slice 3, or beside it."""
    each = slices[3]
    if kind == "uneven":
        each.ImagePositionPatient[2] += 0.7
    elif kind == "beside":
        each.ImagePositionPatient[0] += 2
    elif kind == "double":
        slices.append(make_slice(9, position=each.ImagePositionPatient, SeriesInstanceUID=each.SeriesInstanceUID))
        slices[-1].FrameOfReferenceUID = each.FrameOfReferenceUID
    elif kind == "no position":
        del each.ImagePositionPatient
    elif kind == "no orientation":
        del each.ImageOrientationPatient
    elif kind == "scout":
        each.ImageOrientationPatient = CORONAL.ravel().tolist()
    elif kind == "larger":
        set_pixels(each, np.zeros((8, 9), np.int16))
    elif kind == "coarser":
        each.PixelSpacing = [1.5, 1.3]
    elif kind == "elsewhere":
        each.FrameOfReferenceUID = generate_uid()
    elif kind == "colour":
        each.SamplesPerPixel, each.PhotometricInterpretation = 3, "RGB"
    elif kind == "truncated":
        each.PixelData = each.PixelData[:-20]
    elif kind == "no pixels":
        del each.PixelData
    elif kind == "bad number":
        each.add_new("ImagePositionPatient", "LO", ["a", "b", "c"])
    elif kind == "no intercept":
        del each.RescaleIntercept
    elif kind == "no slope":
        each.RescaleSlope = 0
    elif kind == "skewed":
        each.ImageOrientationPatient = [1, 0, 0, 0.5, 0.8, 0]
    return slices


@pytest.mark.parametrize(
    ("kind", "message"),
    {
        "uneven": "unevenly spaced: 3.2 mm lie between {2} and {3}, and elsewhere 2.5",
        "beside": "is no even stack: {3} lies 2 mm beside its place",
        "double": "holds several slices at one position, such as {both}: of 7 slices, 1 are too many",
        "no position": "{3} does not say where it lies: it has no ImagePositionPatient",
        "no orientation": "{3} does not say where it lies: it has no ImageOrientationPatient",
        "scout": "{3} does not belong to the other slices of {folder}: its directions of rows and columns are",
        "larger": "{3} does not belong to the other slices of {folder}: its rows and columns are (8, 9), theirs (7, 9)",
        "coarser": "{3} does not belong to the other slices of {folder}: its millimetres between pixels are (1.5, 1.3)",
        "elsewhere": "{3} does not belong to the other slices of {folder}: its frame of reference are",
        "colour": "{3} holds colours, 'RGB'",
        "truncated": "{3} is damaged: its pixels cannot be read",
        "no pixels": "{3} is damaged: it ends before its pixels",
        "bad number": "{3} does not say where it lies: it has no ImagePositionPatient",
        "no intercept": "{3} rescales its values by 1.0 and None",
        "no slope": "{3} rescales its values by 0.0 and 0.0",
        "skewed": "{3} has an ImageOrientationPatient that is none",
    }.items(),
    ids=lambda value: value if " " not in value or len(value) < 15 else "",
)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_the_file_that_is_wrong_is_named_in_one_sentence(tmp_path, kind, message):
    paths = save(tmp_path, spoil(series(), kind))
    sentence = why_not(tmp_path, allow_gantry_tilt=True)
    expected = message.format(*paths, folder=tmp_path, both=" and ".join(map(str, sorted((paths[3], paths[-1])))))
    assert expected in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("syntax", [None, RLELossless], ids=["plain", "RLE"])
def test_a_truncated_file_is_named(tmp_path, share, syntax):
    slices = series()
    if syntax:
        for each in slices:
            each.compress(syntax, generate_instance_uid=False)
    path = save(tmp_path, slices)[3]
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        open_volume(tmp_path)


@pytest.mark.parametrize("content", [b"", b"junk", b"\0" * 128 + b"DICM" + b"\xff" * 50])
def test_a_file_called_dicom_that_is_none_is_named(tmp_path, content):
    path = save(tmp_path, series())[3]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        open_volume(tmp_path)


def test_phases_are_refused_with_what_tells_them_apart(tmp_path):
    slices = series(4)
    for number, each in enumerate([*slices, *map(deepcopy, slices)]):
        each.TriggerTime = 100 * (number // 4)
        save_file(tmp_path / f"{number}.dcm", each)
    with pytest.raises(ValueError, match=r"differ in TriggerTime \(0.*, 100.*\): of 8 slices, 4 are too many"):
        open_volume(tmp_path)


def test_of_several_series_one_must_be_chosen(tmp_path):
    first, second = series(4), series(5)
    for each in second:
        each.SeriesNumber, each.SeriesDescription = 7, "lung"
    save(tmp_path / "a", first)
    save(tmp_path / "b", second)
    sentence = why_not(tmp_path)
    uid = second[0].SeriesInstanceUID
    assert f"series number 7 (CT, lung; 5 images; {uid})" in sentence
    assert "holds 2 image series" in sentence
    assert sentence.endswith("choose one by its number or UID, such as series='3'")
    for chosen in ("7", uid):
        assert open_volume(tmp_path, options=ReadOptions(series=chosen)).source.series == uid
        assert open_volume(tmp_path / "b" / "000.dcm", options=ReadOptions(series=chosen)).source.series == uid
        sentence = why_not(tmp_path / "a" / "000.dcm", series=chosen)
        assert sentence.endswith(f"and series {chosen!r} is asked for; give a file of that one")
    with pytest.raises(ValueError, match="holds 0 series '9'; choose the UID of one of these: series number 3"):
        open_volume(tmp_path, options=ReadOptions(series="9"))


@pytest.mark.parametrize("change", ["empty", "gone"])
def test_a_series_without_its_uid_is_read_and_told_from_others(tmp_path, change):
    slices = series(4)
    for each in slices:
        each.SeriesInstanceUID = ""
        if change == "gone":
            del each.SeriesInstanceUID
    paths = save(tmp_path, slices)
    for path in (tmp_path, paths[2]):
        assert worst_error(open_volume(path)) <= 0.5 + 1e-3
    save(tmp_path / "other", series(4))
    assert "series number 3 (CT, made; 4 images; without UID); series number 3 (CT" in why_not(tmp_path)


def test_localizers_and_pictures_without_a_place_need_no_choice(tmp_path, caplog):
    slices = series()
    scout = make_slice(0, position=(0, 0, 0), axes=CORONAL, SeriesInstanceUID=slices[0].SeriesInstanceUID)
    own = make_slice(0, position=(0, 0, 0), axes=SAGITTAL, SeriesInstanceUID=generate_uid())
    scout.ImageType = own.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    page = make_slice(0, position=(0, 0, 0), SeriesInstanceUID=generate_uid())
    del page.ImagePositionPatient
    save(tmp_path, [*slices, scout, own, page])
    assert worst_error(open_volume(tmp_path)) <= 0.5 + 1e-3
    assert "1 localizers are left out" in caplog.text


def test_a_folder_without_images_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("a scan")
    with pytest.raises(ValueError, match="holds no DICOM file"):
        open_volume(tmp_path)
    plan = pydicom.dcmread(get_testdata_file("rtplan.dcm"))
    path = save_file(tmp_path / "plan.dcm", plan)
    with pytest.raises(ValueError, match="holds no image series, only RTPLAN"):
        open_volume(tmp_path)
    with pytest.raises(ValueError, match="is RTPLAN without an image"):
        open_volume(path)


def test_a_deflated_file_is_not_inflated(tmp_path):
    with pytest.raises(ValueError, match="is deflated as a whole, which is not read"):
        open_volume(get_testdata_file("image_dfl.dcm"))


def test_size_is_checked_before_pixels_are_read(tmp_path, monkeypatch):
    slices = series()
    for each in slices:
        each.Rows = each.Columns = 65535
    save(tmp_path, slices)
    with pytest.raises(ValueError, match=r"65535 x 65535 x 6 voxels, which take 96 GiB, and 8 are allowed"):
        open_volume(tmp_path)


@pytest.mark.parametrize("name", ["CT2", "CT2N", "CR1", "MR1", "MR2", "MR700"])
def test_samples_that_are_no_regular_volume_are_refused(name):
    root = next(p for p in pydicom.data.get_testdata_files("dicomdirtests/**/*") if f"/{name}/" in p)
    folder = root[: root.index(f"/{name}/") + len(name) + 1]
    assert folder in why_not(folder)


def test_options_that_cannot_be_are_refused():
    for wrong in (dict(on_missing="skip"), dict(geometry="affine"), dict(max_bytes=0)):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            ReadOptions(**wrong)


@pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")
def test_a_length_beyond_the_file_takes_no_memory_and_names_of_the_file_break_no_line(tmp_path):
    slices = series()
    slices[2].FrameOfReferenceUID = "1.2\n\x1b3"
    first, *_, last = save(tmp_path, slices)
    assert "\\n\\x1b3" in why_not(tmp_path)
    content = first.read_bytes()
    place = content.index(b"LO", 300) + 2  # the length of a text
    longest = content[: place - 2] + b"UT\0\0" + (2**31).to_bytes(4, "little") + content[place:]
    first.write_bytes(longest)
    tracemalloc.start()
    said = why_not(first)
    assert str(first) in said
    assert tracemalloc.get_traced_memory()[1] < 2**28
    tracemalloc.stop()
    assert "\n" not in said
    assert last.is_file()
