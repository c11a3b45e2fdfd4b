"""What a NIfTI header says wrongly, and what nibabel would correct without asking: refused in one sentence."""

import gzip
import logging
import struct

import nibabel
import numpy as np
import pytest

from densevit.volumes.volume import ReadOptions, open_volume

PLACES = dict(  # of fields in the header of NIfTI-1: where, and how stored
    dim=(40, "<8h"), datatype=(70, "<h"), bitpix=(72, "<h"), pixdim=(76, "<8f"), scl_slope=(112, "<f"),
    scl_inter=(116, "<f"), xyzt_units=(123, "<b"), qform_code=(252, "<h"), sform_code=(254, "<h"),
    quatern_b=(256, "<f"),
)  # fmt: skip


def spoilt(path, **fields):
    """A small file with fields of its header overwritten."""
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([1.5, 1.5, 2, 1])), path)
    content = bytearray(path.read_bytes())
    for name, values in fields.items():
        offset, form = PLACES[name]
        struct.pack_into(form, content, offset, *values)
    path.write_bytes(content)
    return path


def why_not(path, **options):
    with pytest.raises(ValueError, match=r"\w") as raised:
        open_volume(path, options=ReadOptions(**options))
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("first", [0, -1.5, np.nan])
def test_voxel_sizes_that_are_none_are_refused_until_the_sform_is_chosen(tmp_path, first):
    pixdim = (1, first, 1.5, 2, 1, 1, 1, 1)
    path = spoilt(tmp_path / "a.nii", pixdim=pixdim)
    assert "must be positive; choose geometry='sform' if its sform holds, or correct the file" in why_not(path)
    assert "must be positive" in why_not(path, geometry="qform")
    assert open_volume(path, options=ReadOptions(geometry="sform")).grid.spacing == (2, 1.5, 1.5)
    # Nothing else says how large a voxel is, and nibabel would take 0 for 1 mm.
    path = spoilt(tmp_path / "b.nii", pixdim=pixdim, sform_code=(0,))
    assert why_not(path).endswith("mm, and they must be positive; correct the file")


@pytest.mark.parametrize(("unit", "name"), [(1, "metres"), (3, "micrometres")])
def test_lengths_in_other_units_are_no_millimetres(tmp_path, unit, name):
    assert f"says that its lengths are {name}, and millimetres are expected" in why_not(
        spoilt(tmp_path / "a.nii", xyzt_units=(unit,))
    )
    assert open_volume(spoilt(tmp_path / "b.nii", xyzt_units=(0,))).grid.spacing == (2, 1.5, 1.5)


def test_what_nibabel_corrects_is_not_told_to_stderr(tmp_path, capfd, caplog):
    logger = nibabel.imageglobals.logger
    with caplog.at_level(logging.DEBUG):
        assert "data code 999 not recognized" in why_not(spoilt(tmp_path / "a.nii", datatype=(999,)))
        assert capfd.readouterr().err == caplog.text == ""
    logger.warning("others are heard")
    assert "others are heard" in capfd.readouterr().err + caplog.text


def test_a_name_that_says_another_compression_is_told(tmp_path):
    plain = spoilt(tmp_path / "a.nii")
    wrong = plain.rename(tmp_path / "a.nii.gz")
    assert "is not compressed, unlike what its name says: rename it to .nii if" in why_not(wrong)
    (tmp_path / "b.nii").write_bytes(gzip.compress(wrong.read_bytes()))
    assert "is compressed, unlike what its name says: rename it to .nii.gz if" in why_not(tmp_path / "b.nii")
    (tmp_path / "c.nii").touch()
    assert "it is empty" in why_not(tmp_path / "c.nii")


def test_a_file_that_is_no_volume_is_told_so_whatever_its_geometry(tmp_path):
    assert "has the shape (4, 5)" in why_not(spoilt(tmp_path / "a.nii", dim=(2, 4, 5, 1, 1, 1, 1, 1)))
    five = spoilt(tmp_path / "b.nii", dim=(5, 4, 5, 2, 1, 3, 1, 1))
    assert "or a fourth of channels; save each channel as a file of its own" in why_not(five)
    dtype = [("R", "u1"), ("G", "u1"), ("B", "u1")]
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), dtype), np.eye(4)), tmp_path / "c.nii")
    assert "holds RGB values" in why_not(tmp_path / "c.nii")


def test_a_short_file_is_refused_before_memory_is_taken(tmp_path):
    path = spoilt(tmp_path / "a.nii", dim=(3, 1000, 1000, 1000, 1, 1, 1, 1))
    assert "is damaged (2000000352 bytes are expected, and 592 are there)" in why_not(path)


def test_values_beyond_float32_are_refused_without_a_warning(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.full((4, 5, 6), 1e300), np.eye(4)), tmp_path / "a.nii")
    assert "holds 120 voxels that are no finite number, or too large for float32" in why_not(tmp_path / "a.nii")
    nibabel.save(nibabel.Nifti2Image(np.full((4, 5, 6), 100, np.int16), np.eye(4)), tmp_path / "b.nii")
    content = bytearray((tmp_path / "b.nii").read_bytes())
    for offset, value in ((176, 1e308), (184, -1e308)):  # slope and intercept
        struct.pack_into("<d", content, offset, value)
    (tmp_path / "b.nii").write_bytes(content)
    assert "holds 120 voxels that are no finite number" in why_not(tmp_path / "b.nii")
    struct.pack_into("<d", content, 400, 1e300)  # the first row of the sform
    (tmp_path / "c.nii").write_bytes(content)
    assert "disagrees with itself" in why_not(tmp_path / "c.nii")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch, ending):
    path = tmp_path / f"a{ending}"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6)), np.eye(4)), path)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(nibabel, "load", refuse)  # the tests may run as root, who may read everything
    with pytest.raises(PermissionError, match="Permission denied"):
        open_volume(path)


def test_a_file_that_holds_more_than_its_header_says_is_refused(tmp_path):
    path = spoilt(tmp_path / "a.nii", dim=(3, 4, 5, 3, 1, 1, 1, 1))
    assert "is damaged (472 bytes are expected, and 592 are there)" in why_not(path)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert "is damaged (it holds more values than its header says)" in why_not(tmp_path / "b.nii.gz")


def test_bits_that_are_not_those_of_the_type_are_refused(tmp_path):
    assert "says that a voxel has 16 bits, and values of its type uint8 have 8" in why_not(
        spoilt(tmp_path / "a.nii", datatype=(2,))
    )
    assert open_volume(spoilt(tmp_path / "b.nii", bitpix=(0,))).image.shape == (1, 6, 5, 4)  # which says nothing


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (dict(sform_code=(68,)), "has the sform_code 68, so that which side is left is not known"),
        (dict(qform_code=(-1,)), "has the qform_code -1, so that"),
        (dict(sform_code=(0,), qform_code=(0,)), "has the sform_code 0 and the qform_code 0, beside numbers of a form"),
        (dict(pixdim=(1.5, 1.5, 1.5, 2, 1, 1, 1, 1), qform_code=(1,)), "has the pixdim[0] 1.5, so that"),
    ],
    ids=str,
)
def test_codes_that_would_turn_left_and_right_are_refused_until_a_form_is_chosen(tmp_path, fields, said):
    path = spoilt(tmp_path / "a.nii", **fields)
    sentence = why_not(path)
    assert said in sentence
    assert "choose geometry='sform'" in sentence
    chosen = open_volume(path, options=ReadOptions(geometry="sform"))
    np.testing.assert_array_equal(chosen.affine, np.diag([1.5, 1.5, 2, 1]))


@pytest.mark.parametrize(("slope", "intercept"), [(np.inf, 0), (2, np.nan), (np.nan, 3)])
def test_a_scale_that_is_no_number_is_refused(tmp_path, slope, intercept):
    sentence = why_not(spoilt(tmp_path / "a.nii", scl_slope=(slope,), scl_inter=(intercept,)))
    assert "scales its values by" in sentence or "cannot be read as NIfTI" in sentence


def test_a_small_file_of_many_equal_values_does_not_hold_the_job(tmp_path):
    content = spoilt(tmp_path / "a.nii", dim=(3, 1000, 1000, 1000, 1, 1, 1, 1)).read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content))
    assert "of values, nearly all of them the same; correct the header, or decompress" in why_not(tmp_path / "a.nii.gz")


def test_a_quaternion_that_is_none_is_told_with_what_to_choose(tmp_path):
    path = spoilt(tmp_path / "a.nii", qform_code=(1,), sform_code=(1,), quatern_b=(1.5,))
    said = why_not(path)
    assert "its quaternion (quatern_b, quatern_c, quatern_d) is longer than 1; choose geometry='sform'" in said
    open_volume(path, options=ReadOptions(geometry="sform"))
