"""TIFF files whose 0 is white, and files of more bands than colours: shown right, kept as stored, or refused."""

import struct

import numpy as np
import pytest
import tifffile

from densevit.data import read_image, read_label
from densevit.pictures.reading import read_channels

MASK = np.zeros((4, 6), bool)
MASK[1:3, 1:3] = True
GREY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


def test_a_mask_of_bits_whose_zero_is_white_keeps_its_values(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, MASK)  # which is tifffile's own way to write bool
    np.testing.assert_array_equal(read_label(path), MASK)
    np.testing.assert_array_equal(read_image(path)[..., 0], np.where(MASK, 0, 255))
    np.testing.assert_array_equal(read_channels(path, channels=1)[0], ~MASK)


@pytest.mark.parametrize(
    "options", [dict(), dict(compression="deflate"), dict(byteorder=">"), dict(bigtiff=True)], ids=str
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_photos_whose_zero_is_white_are_shown_so_and_labels_keep_their_values(tmp_path, dtype, options):
    path, peak = tmp_path / "a.tif", np.iinfo(dtype).max
    values = GREY.astype(dtype) * (peak // 255)
    tifffile.imwrite(path, values, photometric="miniswhite", **options)
    np.testing.assert_array_equal(read_image(path), np.stack([255 - GREY] * 3, axis=-1))
    np.testing.assert_array_equal(read_label(path), values)
    np.testing.assert_array_equal(read_channels(path, channels=1)[0], peak - values)


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_numbers_that_count_down_from_an_unknown_white_are_refused(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(dtype), photometric="miniswhite")
    with pytest.raises(ValueError, match=r"a\.tif: its .* numbers count from white, and nobody knows which is black"):
        read_channels(tmp_path / "a.tif", channels=1)


def packed(values, bits, photometric):
    """A TIFF of so many bits a pixel, in one strip of one row."""
    text = "".join(f"{value:0{bits}b}" for value in values)
    text = text.ljust(-(-len(text) // 16) * 16, "0")
    data = int(text, 2).to_bytes(len(text) // 8, "big")
    count = -(-len(values) * bits // 8)
    said = {256: len(values), 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 1, 279: count}
    entries = [struct.pack("<HHII", key, 4, 1, value) for key, value in said.items()]
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", 9) + b"".join(entries) + bytes(4)


@pytest.mark.parametrize("white", [True, False])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12])
def test_few_bits_are_shown_over_the_whole_range_and_stay_as_they_are_in_labels(tmp_path, bits, white):
    peak = (1 << bits) - 1
    values = np.array([0, 1, peak // 2, peak])
    (tmp_path / "a.tif").write_bytes(packed(values, bits, 0 if white else 1))
    lighter = peak - values if white else values
    np.testing.assert_array_equal(read_label(tmp_path / "a.tif"), values[None])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0, :, 0], np.rint(lighter * 255 / peak))
    np.testing.assert_array_equal(read_channels(tmp_path / "a.tif", channels=1)[0, 0], lighter)


BANDS = np.random.default_rng(0).integers(0, 255, (20, 30, 5), dtype=np.uint8)
MORE = {
    "RGB and infrared": (4, dict(photometric="rgb", extrasamples=["unspecified"])),
    "RGB and infrared, band by band": (
        4,
        dict(photometric="rgb", extrasamples=["unspecified"], planarconfig="separate"),
    ),
    "RGB and infrared of 16 bits": (4, dict(photometric="rgb", extrasamples=["unspecified"], dtype=np.uint16)),
    "RGB and infrared, large": (4, dict(photometric="rgb", extrasamples=["unspecified"], bigtiff=True)),
    "RGB, alpha and infrared": (5, dict(photometric="rgb", extrasamples=["unassalpha", "unspecified"])),
    "grey and another": (2, dict(photometric="minisblack", extrasamples=["unspecified"], planarconfig="contig")),
    "four greys": (4, dict(photometric="minisblack", planarconfig="contig")),
    "three greys": (3, dict(photometric="minisblack", planarconfig="contig")),
}


@pytest.mark.parametrize(("count", "options"), MORE.values(), ids=MORE)
def test_bands_beyond_colours_are_never_dropped(tmp_path, count, options):
    options, path = dict(options), tmp_path / "a.tif"
    pixels = BANDS[..., :count].astype(options.pop("dtype", np.uint8))
    stored = pixels.transpose(2, 0, 1) if options.get("planarconfig") == "separate" else pixels
    tifffile.imwrite(path, stored, **options)
    for read in (read_image, read_label):
        with pytest.raises(
            ValueError, match=rf"a\.tif has {count} bands, .*set in_channels={count} and a normalization"
        ):
            read(path)
    np.testing.assert_array_equal(read_channels(path, channels=count), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("alpha", [255, 254])
def test_an_alpha_behind_further_bands_is_left_out_where_it_is_opaque(tmp_path, alpha):
    pixels = np.dstack([BANDS[..., :4], np.full((20, 30), alpha, np.uint8)])
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unspecified", "unassalpha"])
    if alpha == 255:
        np.testing.assert_array_equal(read_channels(tmp_path / "a.tif", channels=4), pixels[..., :4].transpose(2, 0, 1))
    else:
        with pytest.raises(ValueError, match=r"a\.tif: it has transparent pixels.* in_channels=5"):
            read_channels(tmp_path / "a.tif", channels=4)
