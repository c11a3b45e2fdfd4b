"""DICOM series as volumes: the right values at the right places, or a sentence that names the file."""

import re
import shutil
from copy import deepcopy

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGLSLossless, RLELossless, generate_uid

from densevit.datasets.dicom import DicomSource
from densevit.datasets.volume import ReadOptions, open_volume, read_grid
from tests.datasets.dicom_files import (
    OBLIQUE,
    make_slice,
    multi_frame,
    save,
    save_file,
    series,
    set_pixels,
    worst_error,
)

SAGITTAL = np.array([[0.0, 1, 0], [0, 0, -1]])
CORONAL = np.array([[1.0, 0, 0], [0, 0, -1]])
HEAD_FIRST = np.array([[-1.0, 0, 0], [0, -1, 0]])
KINDS = {
    "axial": dict(),
    "reversed": dict(step=-2.5),
    "oblique": dict(axes=OBLIQUE),
    "oblique reversed": dict(axes=OBLIQUE, step=-0.8),
    "sagittal": dict(axes=SAGITTAL),
    "coronal": dict(axes=CORONAL, step=-1.25),
    "turned": dict(axes=HEAD_FIRST),
    "rescaled": dict(slope=0.5, intercept=-1024),
    "two slices": dict(count=2),
}


def why_not(path, **options):
    """The sentence with which a scan is refused."""
    with pytest.raises(ValueError, match=r"\w") as raised:
        open_volume(path, options=ReadOptions(**options))
    return str(raised.value)


@pytest.mark.parametrize("kind", KINDS)
def test_each_value_lies_where_the_grid_says(tmp_path, kind):
    save(tmp_path, series(**KINDS[kind]))
    volume = open_volume(tmp_path)
    assert worst_error(volume) <= 0.5 * KINDS[kind].get("slope", 1) + 1e-3
    assert read_grid(tmp_path).distance(volume.grid) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_highdicom_reads_the_same(tmp_path, kind):
    slices = series(**KINDS[kind])
    save(tmp_path, slices)
    volume = open_volume(tmp_path)
    peer = highdicom.get_volume_from_series(slices)
    own = volume.on_own_axes(volume.image[0]).T  # slices, rows, columns
    ours = np.diag([-1, -1, 1, 1]) @ volume.affine[:, [2, 1, 0, 3]]
    if np.linalg.norm(peer.affine[:3, 3] - ours[:3, 3]) > 1e-3:  # it may count slices the other way
        peer = peer[::-1]
    np.testing.assert_allclose(peer.affine, ours, atol=1e-5)
    np.testing.assert_allclose(peer.array, own, atol=1e-4)


def test_the_label_goes_back_to_the_slices_rows_and_columns_of_the_series(tmp_path):
    slices = series(axes=OBLIQUE, step=-2.5)
    paths = save(tmp_path, slices)
    volume = open_volume(tmp_path)
    own = volume.on_own_axes(volume.image[0])
    assert [path for path, _ in volume.source.slices] == paths[::-1]
    for (path, frame), pixels in zip(volume.source.slices, own.T, strict=True):
        assert frame is None
        np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, pixels)


def test_one_file_stands_for_its_series(tmp_path):
    paths = save(tmp_path, series())
    save_file(tmp_path / "other.dcm", make_slice(0, position=(0, 0, 0), SeriesInstanceUID="1.2.3"))
    assert open_volume(paths[2]).grid.size == (6, 7, 9)


def test_one_slice_is_as_deep_as_it_is_thick(tmp_path):
    (path,) = save(tmp_path, series(1))
    assert open_volume(path).grid.spacing == (9.0, 1.5, 1.2)
    thin = series(1)[0]
    del thin.SliceThickness
    save_file(path, thin)
    with pytest.raises(ValueError, match=r"000.dcm is one slice and says not how thick it is"):
        open_volume(path)


def test_what_is_no_dicom_lies_unread_in_the_folder_and_folders_in_it_are_looked_into(tmp_path):
    slices = series()
    save(tmp_path / "a", slices[:3])
    save(tmp_path / "b", slices[3:])
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM junk")
    (tmp_path / "a" / "notes.txt").write_text("a scan")
    (tmp_path / ".hidden.dcm").write_bytes(b"")
    (tmp_path / "a" / "empty").write_bytes(b"")
    assert worst_error(open_volume(tmp_path)) <= 0.5 + 1e-3


def test_a_dicomdir_under_another_name_is_left_out(tmp_path):
    save(tmp_path, series())
    shutil.copy(get_testdata_file("DICOMDIR"), tmp_path / "index")
    assert open_volume(tmp_path).grid.size == (6, 7, 9)


def test_files_without_the_preamble_are_read(tmp_path):
    for path in save(tmp_path, series()):
        path.write_bytes(path.read_bytes()[132:])
    assert worst_error(open_volume(tmp_path)) <= 0.5 + 1e-3


@pytest.mark.parametrize("order", [None, (3, 0, 5, 1, 4, 2)], ids=["in order", "in disorder"])
def test_an_enhanced_file_of_many_frames_is_the_series(tmp_path, order):
    slices = series(axes=OBLIQUE, slope=0.5, intercept=-100)
    path = save_file(tmp_path / "many.dcm", multi_frame(slices, order=order))
    volume = open_volume(path)
    assert worst_error(volume) <= 0.25 + 1e-3
    assert [frame for _, frame in volume.source.slices] == list(np.argsort(order or range(6)))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=["RLE", "JPEG-LS"])
def test_compressed_slices_are_decoded(tmp_path, syntax):
    slices = series(slope=0.5)
    for each in slices:
        each.compress(syntax, generate_instance_uid=False)
    save(tmp_path, slices)
    assert worst_error(open_volume(tmp_path)) <= 0.25 + 1e-3


@pytest.mark.parametrize("kind", ["implicit", "bigendian", "expb", "RLE", "jp2klossless", "jpeg_ls_lossless"])
def test_every_transfer_syntax_gives_the_same_values(tmp_path, kind):
    paths = [tmp_path / each / "one.dcm" for each in ("plain", kind)]
    for path, more in zip(paths, ("", f"_{kind}"), strict=True):
        path.parent.mkdir()
        shutil.copy(get_testdata_file(f"MR_small{more}.dcm"), path)
    plain, other = map(open_volume, paths)
    np.testing.assert_array_equal(other.image, plain.image)
    assert len(np.unique(plain.image)) > 100


def test_each_slice_is_rescaled_by_its_own_slope(tmp_path):
    slices = [
        make_slice(i, position=(0, 0, 3 * i), slope=0.5 + i / 8, SeriesInstanceUID="1.2.3", Modality="PT")
        for i in range(5)
    ]
    save(tmp_path, slices)
    assert worst_error(open_volume(tmp_path)) <= 0.5 + 1e-3


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_even_enough(tmp_path):
    slices = series(30, step=2.53)
    for each in slices:
        each.ImagePositionPatient = [round(p, 1) for p in each.ImagePositionPatient]
    save(tmp_path, slices)
    assert worst_error(open_volume(tmp_path)) < 1


def test_values_of_monochrome1_are_the_stored_ones(tmp_path):
    slices = series()
    for each in slices:
        each.PhotometricInterpretation = "MONOCHROME1"
    save(tmp_path, slices)
    assert worst_error(open_volume(tmp_path)) <= 0.5 + 1e-3


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
    with pytest.raises(ValueError, match="holds 0 series '9'; choose the UID of one of these: series number 3"):
        open_volume(tmp_path, options=ReadOptions(series="9"))


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


@pytest.mark.real
@pytest.mark.parametrize("patient", ["STS_002", "STS_003"])
@pytest.mark.parametrize("kind", ["CT", "MR_T1", "PET"])
def test_dicom_and_nifti_of_one_scan_are_one_volume(shared_data, patient, kind):
    folder = shared_data / "sts_dicom_rt" / patient / kind
    dicom, nifti = open_volume(folder / "dicom" / "image"), open_volume(folder / "nifti" / "image" / "image.nii.gz")
    np.testing.assert_allclose(dicom.affine, nifti.affine, atol=1e-4)
    np.testing.assert_allclose(dicom.image, nifti.image, rtol=1e-6 if kind == "PET" else 0)
    assert isinstance(dicom.source, DicomSource)


@pytest.mark.real
def test_every_sample_is_read_or_says_why_in_one_sentence(shared_data):
    root = shared_data / "dicom_samples"
    read, told = {}, []
    for folder in sorted({path.parent for path in root.rglob("*.dcm")}):
        try:
            result = open_volume(folder).grid.size
        except ValueError as error:
            result = str(error)
            told += [(folder, result)]
        read[folder.relative_to(root).as_posix()] = result
    assert all(str(folder) in sentence and "\n" not in sentence for folder, sentence in told)
    assert {name: size for name, size in read.items() if not isinstance(size, str)} == {
        "dcmqi/23x38x3/image": (3, 38, 23),
        "dcmqi/23x38x3/multiframe": (3, 38, 23),
        "dcmqi/24x38x3/image": (3, 38, 24),
        "dcmqi/24x38x3/multiframe": (3, 38, 24),
        "dcmqi/ct-3slice": (3, 512, 512),
        "dicom2nifti_compressed_j2k": (256, 256, 4),
        "highdicom": (1, 128, 128),
        "hippocampus_crop_dicom/Study1_13_HCropVolume": (32, 51, 35),
        "hippocampus_crop_dicom/Study2_14_HCropVolume": (35, 48, 36),
        "hippocampus_crop_dicom/Study3_11_HCropVolume": (40, 50, 34),
        "papaya_oblique_mr": (20, 256, 256),
        "rt_utils/mock_data": (2, 512, 512),
        "rt_utils/oriented_data": (3, 50, 100),
    }
    refused = {name: text for name, text in read.items() if isinstance(text, str)}
    assert "holds several slices at one position" in refused["dicom2nifti_failing/notavolume"]
    assert "lacks 1 slice between" in refused["dicom2nifti_failing/sliceincrement"]
    assert "holds 5 image series" in refused["dcmqi"]


@pytest.mark.real
def test_a_ct_in_jpeg_2000_is_in_hounsfield_units(shared_data):
    volume = open_volume(shared_data / "ct_organs" / "totalsegmentator" / "example_ct_dicom")
    assert volume.grid.size == (20, 512, 512)
    assert volume.image.min() == -1024
