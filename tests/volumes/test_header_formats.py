"""NRRD and MetaImage: a text header and values."""

import gzip
import re
import zlib
from itertools import product

import nibabel
import numpy as np
import pytest

from densevit.volumes.volume import ReadOptions, open_volume, read_label_volume
from tests.volumes.header_files import DIRECTIONS, ORIGIN, SIZE, VALUES, affine, metaimage, nrrd, vector

WRITERS = {"nrrd": nrrd, "mha": metaimage}


@pytest.fixture(params=WRITERS)
def ending(request):
    return request.param


def own(volume):
    return volume.on_own_axes(volume.image[0])


def test_values_lie_where_the_header_says(tmp_path, ending):
    volume = open_volume(WRITERS[ending](tmp_path / f"scan.{ending}"))
    np.testing.assert_allclose(volume.affine, affine(), atol=1e-9)
    np.testing.assert_array_equal(own(volume), VALUES)
    assert volume.image.shape == (1, 6, 4, 5)  # Y of the file runs to the right, X to the front
    nifti = nibabel.as_closest_canonical(nibabel.Nifti1Image(VALUES, affine()))
    np.testing.assert_array_equal(volume.image[0], np.asarray(nifti.dataobj).T)
    np.testing.assert_allclose(volume.grid.affine, nifti.affine, atol=1e-6)


def test_a_mask_is_written_on_the_files_own_grid(tmp_path, ending):
    volume = open_volume(WRITERS[ending](tmp_path / f"scan.{ending}"))
    volume.write_label((volume.image[0] > 50).astype(np.uint8), tmp_path / "mask.nii.gz")
    mask = nibabel.load(tmp_path / "mask.nii.gz")
    np.testing.assert_allclose(mask.affine, affine(), atol=1e-5)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), VALUES > 50)


def test_compressed_values_are_the_same(tmp_path):
    raw = VALUES.tobytes(order="F")
    paths = [
        nrrd(tmp_path / "a.nrrd", content=gzip.compress(raw), encoding="gzip"),
        metaimage(tmp_path / "a.mha", content=zlib.compress(raw), CompressedData="True"),
    ]
    for path in paths:
        np.testing.assert_array_equal(own(open_volume(path)), VALUES)


def test_big_endian_values_are_the_same(tmp_path):
    content = VALUES.astype(">i2").tobytes(order="F")
    for path in (
        nrrd(tmp_path / "a.nrrd", content=content, endian="big"),
        metaimage(tmp_path / "a.mha", content=content, BinaryDataByteOrderMSB="True"),
    ):
        np.testing.assert_array_equal(own(open_volume(path)), VALUES)


def test_values_may_lie_in_a_file_beside_the_header(tmp_path):
    (tmp_path / "values.raw").write_bytes(b"\0" * 7 + VALUES.tobytes(order="F"))
    for path in (
        nrrd(tmp_path / "a.nhdr", content=b"", data_file="values.raw", byte_skip="-1"),
        nrrd(tmp_path / "b.nhdr", content=b"", data_file="./values.raw", byte_skip="7"),
        metaimage(tmp_path / "a.mhd", content=b"", ElementDataFile="values.raw", HeaderSize="-1"),
        metaimage(tmp_path / "b.mhd", content=b"", ElementDataFile="values.raw", HeaderSize="7"),
    ):
        np.testing.assert_array_equal(own(open_volume(path)), VALUES)


@pytest.mark.parametrize(
    ("space", "signs"),
    {"RAS": (-1, -1, 1), "left-anterior-superior": (1, -1, 1), "right-anterior-superior": (-1, -1, 1)}.items(),
)
def test_the_axes_of_space_are_those_that_a_nrrd_names(tmp_path, space, signs):
    turned = " ".join(map(vector, DIRECTIONS * signs))
    path = nrrd(tmp_path / "a.nrrd", space=space, space_directions=turned, space_origin=vector(ORIGIN * signs))
    np.testing.assert_allclose(open_volume(path).affine, affine(), atol=1e-9)


def test_channels_lie_in_any_axis_of_a_nrrd_and_side_by_side_in_a_metaimage(tmp_path):
    both = np.stack([VALUES, -VALUES], axis=-1)
    directions = [*map(vector, DIRECTIONS)]
    last = nrrd(tmp_path / "a.nrrd", values=both, space_directions=" ".join([*directions, "none"]))
    first = nrrd(tmp_path / "b.nrrd", values=np.moveaxis(both, -1, 0), space_directions=" ".join(["none", *directions]))
    interleaved = metaimage(
        tmp_path / "c.mha", content=np.moveaxis(both, -1, 0).tobytes(order="F"), ElementNumberOfChannels="2"
    )
    for path in (last, first, interleaved):
        volume = open_volume(path)
        np.testing.assert_array_equal(volume.on_own_axes(volume.image[0]), VALUES)
        np.testing.assert_array_equal(volume.on_own_axes(volume.image[1]), -VALUES)
        with pytest.raises(ValueError, match="has 4 axes, and a label volume has three"):
            read_label_volume(path)


def test_labels_keep_their_numbers(tmp_path, ending):
    values = np.array([0, 3, 200])[np.random.default_rng(0).integers(0, 3, SIZE)].astype(np.int16)
    label, grid = read_label_volume(WRITERS[ending](tmp_path / f"label.{ending}", values=values))
    assert label.dtype == np.int64
    assert grid.size == label.shape == (6, 4, 5)
    assert np.unique(label).tolist() == [0, 3, 200]
    assert (label == 3).sum() == (values == 3).sum()


@pytest.mark.parametrize(
    ("compressed", "change"),
    [*product((False, True), ("truncated", "more", "empty")), (True, "flipped")],
    ids=lambda value: value if isinstance(value, str) else ("raw", "compressed")[value],
)
def test_values_that_are_not_as_many_as_announced_are_refused(tmp_path, ending, compressed, change):
    raw = VALUES.tobytes(order="F")
    if change == "more":
        raw += b"\0\0"
    content = zlib.compress(raw) if compressed else raw
    if change == "flipped":
        content = content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]
    if change in ("truncated", "empty"):
        content = content[: len(content) // 2 if change == "truncated" else 0]
    options = dict(encoding="gzip") if ending == "nrrd" else dict(CompressedData="True")
    path = WRITERS[ending](tmp_path / f"a.{ending}", content=content, **(options if compressed else {}))
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} (is damaged|holds more than the 240 bytes)"):
        open_volume(path)


def test_a_bomb_is_not_inflated_and_a_giant_is_not_allocated(tmp_path, ending):
    bomb = zlib.compress(b"\0" * 50_000_000)
    options = dict(encoding="gz") if ending == "nrrd" else dict(CompressedData="True")
    with pytest.raises(ValueError, match="holds more than the 240 bytes of values that it announces"):
        open_volume(WRITERS[ending](tmp_path / f"a.{ending}", content=bomb, **options))
    size = {"sizes" if ending == "nrrd" else "DimSize": "32767 32767 32767"}
    with pytest.raises(ValueError, match=r"says that it holds 32767 x 32767 x 32767 voxels, which take 1.31e\+05 GiB"):
        open_volume(WRITERS[ending](tmp_path / f"a.{ending}", **size))
    path = WRITERS[ending](tmp_path / f"a.{ending}")
    assert open_volume(path, options=ReadOptions(max_bytes=480)).image.nbytes == 480
    with pytest.raises(ValueError, match="or raise max_bytes"):
        open_volume(path, options=ReadOptions(max_bytes=479))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(space=None), "does not say where it lies, by space ''"),
        (dict(space="scanner-xyz"), "does not say where it lies, by space 'scanner-xyz'"),
        (dict(space_directions=None), "does not say where it lies"),
        (dict(space_directions="(1,0,0) (0,1,0)"), "three in space are expected"),
        (dict(space_directions="(1,0,0) (1,0,0) (0,0,1)"), "its affine is singular"),
        (dict(space_directions="(1,0) (0,1,0) (0,0,1)"), "and three numbers such as (1,0,0) are expected"),
        (dict(space_directions="(nan,0,0) (0,1,0) (0,0,1)"), "its affine is singular"),
        (dict(space_units='"cm" "cm" "cm"'), "millimetres are expected"),
        (dict(type="block"), "holds values of type 'block'"),
        (dict(type=None), "does not say its type"),
        (dict(endian=None), "does not say its endian"),
        (dict(endian="middle"), "has the endian 'middle'"),
        (dict(encoding="ascii"), "has the encoding 'ascii', and raw or gzip is expected"),
        (dict(sizes="4 5 -6"), "has the shape (4, 5, -6)"),
        (dict(dimension=4), "and 4 numbers are expected"),
        (dict(sizes="4 5 6.5"), "whole numbers are expected"),
        (dict(sizes="4 5 many"), "3 numbers are expected"),
        (dict(line_skip="2"), "skips lines or bytes"),
        (dict(data_file="../values.raw"), "outside of its folder"),
        (dict(data_file="/etc/hostname"), "outside of its folder"),
        (dict(data_file="gone.raw"), "which is not there"),
        (dict(data_file="LIST"), "takes its values from several files"),
    ],
    ids=str,
)
def test_a_nrrd_header_that_cannot_be_right_is_explained(tmp_path, change, message):
    path = nrrd(tmp_path / "a.nrrd", **change)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} .*{re.escape(message)}"):
        open_volume(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(NDims="2", DimSize="4 5"), "has 2 axes"),
        (dict(DimSize="4 5"), "and 3 numbers are expected"),
        (dict(DimSize="4 5 0"), "has the shape (4, 5, 0)"),
        (dict(NDims="inf"), "whole numbers are expected"),
        (dict(ElementSpacing=None), "does not say its ElementSpacing"),
        (dict(ElementSpacing="-1 1 2"), "has the ElementSpacing -1 1 2, and it must be positive"),
        (dict(ElementSpacing="0 1 2"), "and it must be positive"),
        (dict(TransformMatrix="1 0 0"), "and 9 numbers are expected"),
        (dict(TransformMatrix="1 0 0 1 0 0 0 0 1"), "its affine is singular"),
        (dict(ElementType="MET_STRING"), "holds values of type MET_STRING"),
        (dict(BinaryData="False"), "holds its values as text"),
        (dict(CompressedData="perhaps"), "and True or False is expected"),
        (dict(ElementDataFile="../values.raw"), "outside of its folder"),
        (dict(ElementDataFile="gone.raw"), "which is not there"),
        (dict(ElementDataFile="slice%03d.raw 1 6 1"), "takes its values from several files"),
        (dict(HeaderSize="-2"), "has the HeaderSize '-2'"),
    ],
    ids=str,
)
def test_a_metaimage_header_that_cannot_be_right_is_explained(tmp_path, change, message):
    path = metaimage(tmp_path / "a.mha", **change)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} .*{re.escape(message)}"):
        open_volume(path)


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff" * 5000, b"NRRD0004\n" + b"a: b\n" * 300_000, b"NDims = 3\n"])
def test_a_file_that_is_none_is_refused(tmp_path, ending, content):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        open_volume(path)


def check_refused(path, old, new, said):
    """The file is read as it is, and with other bytes in its header refused by a sentence that begins with its name."""
    content = path.read_bytes()
    assert old in content
    assert open_volume(path).grid.size
    path.write_bytes(content.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(said)) as raised:
        open_volume(path)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"space origin:", b"spade origin:", "in its header, which is no field of NRRD"),
        (b"space origin:", b"space origin;", "in its header, which is no field of NRRD"),
        (b"# a comment\n", b"endian: big\n", "says its endian twice, 'big' and 'little'"),
        (b"(10.0,", b"(10.0,,", "and three numbers such as (1,0,0) are expected"),
        (b"10.0", b"1\x000", "is damaged: its header has the line 'space origin: (1\\x000"),
    ],
    ids=str,
)
def test_a_damaged_line_of_a_nrrd_header_is_not_passed_over(tmp_path, old, new, said):
    path = nrrd(tmp_path / "a.nrrd")
    check_refused(path, old, new, said)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            b"TransformMatrix",
            b"TranrformMatrix",
            "has the field 'TranrformMatrix' in its header, is it TransformMatrix?",
        ),
        (b"Offset", b"Nffset", "has the field 'Nffset' in its header, is it Offset?"),
        (b"NDims = 3", b"NDims = 3\nOffset = 0 0 0", "says its Offset twice"),
        (b"0.9912", b"0.1912", "has a TransformMatrix whose rows have the lengths 0.23"),
        (b"= LOCAL", b"= LO\x00AL", "is damaged: its header has the line 'ElementDataFile = LO\\x00AL'"),
    ],
    ids=str,
)
def test_a_damaged_line_of_a_metaimage_header_is_not_passed_over(tmp_path, old, new, said):
    path = metaimage(tmp_path / "a.mha", Study="a field of one's own")
    check_refused(path, old, new, said)
