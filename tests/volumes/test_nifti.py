"""NIfTI files, sound and awkward: the array that the header describes, or one sentence."""

import gzip
import re
import struct

import nibabel
import numpy as np
import pytest

from densevit.volumes.formats.stored_volume import whole_numbers
from densevit.volumes.volume import ReadOptions, open_volume, read_grid, read_label_volume

SIZE = (4, 5, 6)  # X, Y, Z
VALUES = np.arange(120, dtype=np.int16).reshape(SIZE)
SHEARED = np.array([[1.0, 0, 0.4, -9], [0, 1.5, 0.7, 8], [0, 0, 2.0, 4], [0, 0, 0, 1]])
PLACES = dict(  # of fields in the header of NIfTI-1: where, and how stored
    dim=(40, "<8h"), datatype=(70, "<h"), pixdim=(76, "<8f"), vox_offset=(108, "<f"), srow_x=(280, "<4f")
)


def save(path, values=VALUES, affine=SHEARED, *, kind=nibabel.Nifti1Image):
    nibabel.save(kind(values, affine), path)
    return path


def spoilt(path, **fields):
    """A small file with fields of its header overwritten."""
    content = bytearray(save(path.with_suffix("")).read_bytes() if path.suffix == ".gz" else save(path).read_bytes())
    for name, values in fields.items():
        offset, form = PLACES[name]
        struct.pack_into(form, content, offset, *values)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII.GZ"])
def test_both_versions_and_sheared_grids_are_read_and_written(tmp_path, kind, ending):
    if ending.isupper():
        save(tmp_path / "a.nii.gz", kind=kind).rename(tmp_path / f"a{ending}")
    path = tmp_path / f"a{ending}" if ending.isupper() else save(tmp_path / f"a{ending}", kind=kind)
    volume = open_volume(path)
    np.testing.assert_allclose(volume.affine, SHEARED, atol=1e-6)
    np.testing.assert_array_equal(volume.on_own_axes(volume.image[0]), VALUES)
    volume.write_label((volume.image[0] > 60).astype(np.uint8), tmp_path / "mask.nii.gz")
    mask = nibabel.load(tmp_path / "mask.nii.gz")
    np.testing.assert_allclose(mask.affine, SHEARED, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), VALUES > 60)
    assert read_label_volume(tmp_path / "mask.nii.gz")[1].distance(volume.grid) < 1e-5


def test_a_mask_is_stored_in_the_smallest_type_that_holds_it(tmp_path):
    volume = open_volume(save(tmp_path / "a.nii"))
    label = np.zeros(volume.grid.size, np.int64)
    for value, dtype in ((1, np.uint8), (300, np.uint16), (-1, np.int16), (70_000, np.uint32)):
        label[1, 2, 3] = value
        volume.write_label(label, tmp_path / "mask.nii.gz")
        mask = nibabel.load(tmp_path / "mask.nii.gz")
        assert mask.get_data_dtype() == dtype
        np.testing.assert_array_equal(np.asarray(mask.dataobj), volume.on_own_axes(label))
    volume.write_label(label > 0, tmp_path / "mask.nii.gz")
    assert read_label_volume(tmp_path / "mask.nii.gz")[0].sum() == 1
    with pytest.raises(ValueError, match="the label holds float64 values, and whole numbers are expected"):
        volume.write_label(label * 0.5, tmp_path / "mask.nii.gz")


def test_an_axis_too_long_for_nifti_1_is_written_as_nifti_2(tmp_path):
    volume = open_volume(save(tmp_path / "a.nii", np.zeros((33_000, 2, 2), np.uint8), kind=nibabel.Nifti2Image))
    volume.write_label(np.ones(volume.grid.size, np.uint8), tmp_path / "mask.nii.gz")
    assert isinstance(nibabel.load(tmp_path / "mask.nii.gz"), nibabel.Nifti2Image)


def test_channels_come_from_a_fourth_axis_or_from_files_of_one_grid(tmp_path):
    both = np.stack([VALUES, VALUES[::-1]], axis=-1)
    whole = open_volume(save(tmp_path / "both.nii", both))
    parts = [save(tmp_path / f"{i}.nii", both[..., i]) for i in range(2)]
    volume = open_volume(parts)
    np.testing.assert_array_equal(volume.image, whole.image)
    assert volume.path == parts[0]
    moved = SHEARED.copy()
    moved[2, 3] += 0.5
    with pytest.raises(
        ValueError, match=r"2.nii lies up to 0.5 mm away from its image .*0.nii.*resample the channel to"
    ):
        open_volume([parts[0], save(tmp_path / "2.nii", affine=moved)])
    with pytest.raises(ValueError, match=r"3.nii has 6 x 5 x 3 voxels and its image"):
        open_volume([parts[0], save(tmp_path / "3.nii", VALUES[:3])])
    with pytest.raises(ValueError, match="no files were given"):
        open_volume([])


def test_labels_are_checked_as_scans_are(tmp_path):
    image = nibabel.Nifti1Image(VALUES, np.eye(4))
    image.set_qform(np.diag([2.0, 1, 1, 1]), code=1, update_affine=False)
    image.set_sform(np.eye(4), code=1)
    nibabel.save(image, tmp_path / "two.nii")
    for read in (open_volume, read_label_volume, read_grid):
        with pytest.raises(ValueError, match="disagrees with itself"):
            read(tmp_path / "two.nii")
    label, grid = read_label_volume(tmp_path / "two.nii", options=ReadOptions(geometry="sform"))
    np.testing.assert_array_equal(label, VALUES.T)
    assert grid.spacing == (1, 1, 1)


@pytest.mark.parametrize(("value", "shown"), [(0.5, "0.5"), (np.nan, "nan"), (np.inf, "inf")])
def test_labels_that_are_no_whole_numbers_are_refused(tmp_path, value, shown):
    values = VALUES.astype(np.float64)
    values[1, 2, 3] = value
    with pytest.raises(ValueError, match=rf"a.nii holds {shown}, and labels are whole numbers.*if this is an image"):
        read_label_volume(save(tmp_path / "a.nii", values))


@pytest.mark.parametrize("value", [np.float64(1e30), np.float64(2.0**63), np.uint64(2**64 - 1)])
def test_labels_that_are_too_large_are_not_called_fractions(value):
    with pytest.raises(ValueError, match=r"a.nii holds .*, which is too large for a label; correct it"):
        whole_numbers(np.array([1, value], value.dtype), "a.nii")


@pytest.mark.parametrize("values", [(0, 1), (0, 3, 7), (0, 1, 255), (0, 40_000)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_labels_that_a_slope_rounds_are_the_whole_numbers_that_they_were(tmp_path, values, dtype):
    label = np.resize(np.array(values, float), SIZE)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)  # a float array saved with the header of an earlier label, which nibabel scales
    nibabel.save(nibabel.Nifti1Image(label, SHEARED, header), tmp_path / "a.nii")
    if len(values) == 2:  # others are moved by up to half of the slope, which is no rounding
        np.testing.assert_array_equal(read_label_volume(tmp_path / "a.nii")[0], label.T)
    for kind in (np.float32, np.float64):
        nearly = label.astype(kind)
        nearly[label > 0] = np.nextafter(nearly[label > 0], kind(0))
        save(tmp_path / "b.nii", nearly)
        np.testing.assert_array_equal(read_label_volume(tmp_path / "b.nii")[0], label.T)


def test_labels_stored_as_whole_floats_or_with_a_fourth_axis_of_one_are_read(tmp_path):
    for values in (VALUES.astype(np.float32), VALUES[..., None]):
        label, _ = read_label_volume(save(tmp_path / "a.nii", values))
        np.testing.assert_array_equal(label, VALUES.T)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(dim=[3, *[32767] * 3, 1, 1, 1, 1]), "says that it holds 32767 x 32767 x 32767 voxels"),
        (dict(dim=[3, -4, 5, 6, 1, 1, 1, 1]), "has the shape (-4, 5, 6)"),
        (dict(dim=[3, 0, 5, 6, 1, 1, 1, 1]), "has the shape (0, 5, 6)"),
        (dict(dim=[2, 4, 5, 6, 1, 1, 1, 1]), "has the shape (4, 5)"),
        (dict(dim=[5, 4, 5, 3, 2, 1, 1, 1]), "has the shape (4, 5, 3, 2, 1)"),
        (dict(dim=[3, 4, 5, 60, 1, 1, 1, 1]), "is damaged"),
        (dict(datatype=[999]), "cannot be read as NIfTI (data code 999 not recognized)"),
        (dict(datatype=[128]), "and a volume holds plain numbers"),
        (dict(datatype=[32]), "holds complex64 values"),
        (dict(vox_offset=[2e9]), "its header says that values start at byte 2e+09"),
        (dict(vox_offset=[float("nan")]), "its header says that values start at byte nan"),
        (dict(srow_x=[float("nan"), 0, 0, 0]), "disagrees with itself: its sform has voxels of nan"),
        (dict(srow_x=[0, 0, 0, 0], pixdim=[1, 0, 1.5, 2.1575, 0, 0, 0, 0]), ""),
    ],
    ids=str,
)
def test_a_header_that_cannot_be_right_is_explained(tmp_path, ending, fields, message):
    path = spoilt(tmp_path / f"a{ending}", **fields)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} .*{re.escape(message)}") as raised:
        open_volume(path)
    assert "\n" not in str(raised.value)


def test_size_is_bounded_by_what_the_array_would_take(tmp_path):
    path = save(tmp_path / "a.nii")
    assert open_volume(path, options=ReadOptions(max_bytes=480)).image.nbytes == 480
    with pytest.raises(ValueError, match=r"a.nii says that it holds 4 x 5 x 6 voxels, .* or raise max_bytes"):
        open_volume(path, options=ReadOptions(max_bytes=479))
    with pytest.raises(ValueError, match="or raise max_bytes"):
        read_label_volume(path, options=ReadOptions(max_bytes=479))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95, 0.9999])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        open_volume(path)


def test_no_bit_of_a_compressed_file_may_change(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 99, (9, 9, 9)).astype(np.int16))
    content = path.read_bytes()
    assert open_volume(path).image.shape == (1, 9, 9, 9)
    for place in range(len(content) // 2, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"a.nii.gz (is damaged|cannot be read as NIfTI)"):
            open_volume(path)


def test_a_bomb_is_not_inflated(tmp_path):
    path = save(tmp_path / "a.nii")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(path.read_bytes() + b"\0" * 10**8, 1))
    with pytest.raises(ValueError, match=r"a.nii.gz is damaged .it holds more values than its header says"):
        open_volume(tmp_path / "a.nii.gz")


def test_a_file_that_says_nothing_of_its_orientation_is_read_with_a_warning(tmp_path, caplog):
    image = nibabel.Nifti1Image(VALUES, None)
    nibabel.save(image, tmp_path / "a.nii")
    volume = open_volume(tmp_path / "a.nii")
    assert "a.nii says not which way its axes run" in caplog.text
    np.testing.assert_array_equal(volume.image[0], VALUES[::-1].T)


@pytest.mark.real
def test_one_head_in_many_orientations_is_one_array(shared_data):
    paths = sorted((shared_data / "awkward_nifti" / "orient48").glob("*.nii.gz"))
    first = open_volume(paths[0])
    assert len(paths) >= 32
    for path in paths:
        volume = open_volume(path)
        np.testing.assert_array_equal(volume.image, first.image)
        assert volume.grid.distance(first.grid) < 1e-3
        stored = nibabel.load(path)
        np.testing.assert_array_equal(volume.on_own_axes(volume.image[0]), stored.get_fdata(dtype=np.float32))


@pytest.mark.real
def test_every_awkward_file_is_read_or_refused_as_it_should_be(shared_data):
    root = shared_data / "awkward_nifti"
    refused = {
        "complex64.nii.gz": "holds complex64 values",
        "nifti_jl/empty.nii.gz": "cannot be read as NIfTI",
        "nifti_reader_js/5D_small.nii": "has the shape (1, 2, 3, 1, 3)",
        "nifti_reader_js/not-nifti.nii": "cannot be read as NIfTI",
        "sct/mt_mtr.nii.gz": "holds 633 voxels that are no finite number",
        "sct/mt_warp_template2mt.nii.gz": "has the shape (40, 40, 5, 1, 3)",
        "truncated_example4d.nii.gz": "is damaged",
    }
    for path in sorted(root.rglob("*.nii*")):
        name = path.relative_to(root).as_posix()
        if name in refused:
            with pytest.raises(ValueError, match=re.escape(refused[name])):
                open_volume(path)
        elif path.is_file():
            volume, stored = open_volume(path), nibabel.load(path)
            values = stored.get_fdata(dtype=np.float32)
            own = np.stack([volume.on_own_axes(channel) for channel in volume.image], axis=-1)
            np.testing.assert_allclose(own.reshape(values.shape), values, rtol=1e-6)
            np.testing.assert_allclose(volume.affine, stored.affine, atol=1e-6)
