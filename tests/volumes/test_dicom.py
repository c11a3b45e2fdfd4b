"""DICOM series as volumes: the right values at the right places, or a sentence that names the file."""

import shutil

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGLSLossless, RLELossless

from densevit.volumes.formats.dicom import DicomSource
from densevit.volumes.volume import open_volume, read_grid
from tests.volumes.dicom_files import (
    CORONAL,
    OBLIQUE,
    SAGITTAL,
    make_slice,
    multi_frame,
    save,
    save_file,
    series,
    worst_error,
)

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
