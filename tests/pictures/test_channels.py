"""Pictures of any number of channels: each kind of file gives its own numbers, or one sentence that names it."""

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from densevit.normalization import MEAN_STD, ZSCORE
from densevit.pictures.reading import read_channels, read_image, read_input, read_oriented_channels, turn

NUMBERS = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64]


def bands(count, dtype, size=(9, 14)):
    values = np.random.default_rng(0).normal(60, 20, (*size, count))
    return values.astype(dtype)


@pytest.fixture
def tiff(tmp_path):
    """Write a TIFF of bands; tifffile is no part of the package, and tells us whether ours are right."""

    def write(pixels, *, name="a.tif", **options):
        if pixels.shape[2] == 1:
            pixels, options = pixels[..., 0], dict(planarconfig=None, **options)
        if options.get("planarconfig") == "separate":
            pixels = pixels.transpose(2, 0, 1)
        tifffile.imwrite(tmp_path / name, pixels, **(dict(photometric="minisblack", planarconfig="contig") | options))
        return tmp_path / name

    return write


def refused(path, channels):
    with pytest.raises(ValueError, match=path.name.replace(".", r"\.")) as caught:
        read_channels(path, channels=channels)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("count", [1, 2, 4, 7, 13])
def test_a_tiff_of_any_bands_gives_its_own_numbers(tiff, dtype, count):
    pixels = bands(count, dtype)
    got = read_channels(tiff(pixels), channels=count)
    assert got.dtype == pixels.dtype
    np.testing.assert_array_equal(got, pixels.transpose(2, 0, 1))


LAYOUTS = {
    "separate": dict(planarconfig="separate"),
    "tiles": dict(tile=(16, 32)),
    "separate tiles": dict(tile=(16, 32), planarconfig="separate"),
    "strips": dict(rowsperstrip=4),
    "big endian": dict(byteorder=">"),
    "deflated": dict(compression="deflate"),
    "differences": dict(compression="deflate", predictor=2),
    "differences in tiles": dict(compression="deflate", predictor=2, tile=(16, 16), byteorder=">"),
    "rgb": dict(photometric="rgb", extrasamples=["unspecified"]),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS)
def test_bands_are_found_however_they_lie_in_the_tiff(tiff, options, dtype):
    pixels = bands(4, dtype, size=(37, 45))
    np.testing.assert_array_equal(read_channels(tiff(pixels, **options), channels=4), pixels.transpose(2, 0, 1))


PACKED = [(kind, compression, 1) for kind in (np.uint8, np.uint16, np.float32) for compression in (5, 8, 32773)]
PACKED += [(kind, compression, 2) for kind in (np.uint8, np.uint16) for compression in (5, 8)]
PACKED += [(np.float32, compression, 3) for compression in (5, 8)]


@pytest.mark.parametrize(("dtype", "compression", "predictor"), PACKED)
def test_bands_that_libtiff_packed_are_unpacked(tmp_path, dtype, predictor, compression):
    """Compression 5 is LZW, 8 is deflate, 32773 is PackBits; predictor 2 and 3 store differences."""
    import cv2

    pixels = bands(4, dtype, size=(20, 33))
    how = [cv2.IMWRITE_TIFF_COMPRESSION, compression, cv2.IMWRITE_TIFF_PREDICTOR, predictor]
    assert cv2.imwrite(str(tmp_path / "a.tif"), pixels[..., [2, 1, 0, 3]], how)
    np.testing.assert_array_equal(read_channels(tmp_path / "a.tif", channels=4), pixels.transpose(2, 0, 1))


def test_a_tiff_of_bands_is_turned_upright(tiff):
    pixels = bands(5, np.uint16)
    for orientation in range(1, 9):
        path = tiff(pixels, name=f"{orientation}.tif", extratags=[(274, "H", 1, orientation, True)])
        got, turned = read_oriented_channels(path, channels=5)
        np.testing.assert_array_equal(got, turn(pixels, orientation).transpose(2, 0, 1))
        assert turned == orientation


def test_a_tiff_of_several_pages_is_refused_unless_they_are_smaller(tmp_path):
    pixels = bands(4, np.uint16)
    for name, second in (("pages.tif", pixels), ("overview.tif", pixels[::2, ::2])):
        with tifffile.TiffWriter(tmp_path / name) as file:
            file.write(pixels, photometric="minisblack", planarconfig="contig")
            file.write(second, photometric="minisblack", planarconfig="contig")
    assert "several pages" in refused(tmp_path / "pages.tif", 4)
    np.testing.assert_array_equal(read_channels(tmp_path / "overview.tif", channels=4), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
def test_a_truncated_tiff_of_bands_is_refused(tiff, part):
    path = tiff(bands(6, np.float32, size=(40, 40)), rowsperstrip=8)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    assert "copy" in refused(path, 6)


def test_a_tiff_that_would_fill_the_memory_is_refused(tiff):
    path = tiff(bands(6, np.uint16))
    content = path.read_bytes()
    width = content.index(struct.pack("<HHII", 256, 4, 1, 14)) if struct.pack("<HHII", 256, 4, 1, 14) in content else -1
    if width < 0:
        width = content.index(struct.pack("<HHI", 256, 3, 1))
    path.write_bytes(content[:width] + struct.pack("<HHII", 256, 4, 1, 2**31) + content[width + 12 :])
    assert "cut it into tiles" in refused(path, 6)


@pytest.mark.parametrize("shape", [(9, 14), (9, 14, 1), (9, 14, 4)])
@pytest.mark.parametrize("dtype", [*NUMBERS, np.int64, bool])
def test_an_array_file_gives_its_own_numbers(tmp_path, shape, dtype):
    pixels = np.random.default_rng(0).normal(60, 20, shape).astype(dtype)
    np.save(tmp_path / "a.npy", pixels)
    channels = 1 if len(shape) == 2 else shape[2]
    got, turned = read_oriented_channels(tmp_path / "a.npy", channels=channels)
    np.testing.assert_array_equal(got, pixels.reshape(9, 14, channels).transpose(2, 0, 1))
    assert turned == 1


BAD_ARRAYS = {
    "no numbers": (np.zeros((4, 4), complex), "holds complex128"),
    "four axes": (np.zeros((1, 4, 4, 3)), "of shape (1, 4, 4, 3)"),
    "empty": (np.zeros((0, 4)), "of shape (0, 4)"),
    "not finite": (np.array([[0, np.nan], [np.inf, 1]]), "holds 2 values that are no finite number"),
    "channels first": (np.zeros((4, 9, 14)), "has 14 channels (4 x 9 pixels)"),
}


@pytest.mark.parametrize(("array", "said"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_an_array_that_is_no_picture_is_refused(tmp_path, array, said):
    np.save(tmp_path / "a.npy", array)
    assert said in refused(tmp_path / "a.npy", 4 if said.startswith("has") else 1)


def test_an_array_file_that_holds_more_than_its_header_says_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 14), np.uint8))
    with open(tmp_path / "a.npy", "ab") as file:
        file.write(bytes(14))
    assert "it holds more than the uint8 of shape (9, 14)" in refused(tmp_path / "a.npy", 1)


def test_an_array_file_of_objects_runs_nothing(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{}]]), allow_pickle=True)
    assert "cannot read" in refused(tmp_path / "a.npy", 1)


@pytest.mark.parametrize(
    ("mode", "ending", "count"),
    [("L", "png", 1), ("1", "png", 1), ("I;16", "png", 1), ("F", "tif", 1), ("LA", "png", 2), ("RGB", "jpg", 3),
     ("RGBA", "png", 4), ("RGBA", "tif", 4), ("RGBA", "webp", 4)],
)  # fmt: skip
def test_common_pictures_give_what_they_hold(tmp_path, photo, mode, ending, count):
    image = Image.fromarray(photo[..., 0].astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(photo)
    image = image if mode == "I;16" else image.convert(mode)
    if "A" in mode:
        image.putalpha(Image.fromarray(photo[..., 1]))
    image.save(tmp_path / f"a.{ending}", **(dict(lossless=True, exact=True) if ending == "webp" else {}))
    with Image.open(tmp_path / f"a.{ending}") as stored:
        expected = np.asarray(stored).reshape(*photo.shape[:2], -1)
    got = read_channels(tmp_path / f"a.{ending}", channels=count)
    np.testing.assert_array_equal(got, expected.transpose(2, 0, 1))


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colours_keep_their_bits(tmp_path, channels):
    import cv2

    values = np.random.default_rng(0).integers(0, 65536, (12, 20, channels), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), values[..., [2, 1, 0, 3][:channels]])  # OpenCV writes BGR
    np.testing.assert_array_equal(read_channels(tmp_path / "a.png", channels=channels), values.transpose(2, 0, 1))


def test_four_bits_are_not_stretched(tmp_path):
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4) * 17).save(tmp_path / "a.png", bits=4)
    assert read_channels(tmp_path / "a.png", channels=1).max() in (15, 255)  # 255 where PIL wrote 8 bits


def test_grey_becomes_colour_and_colour_without_colour_grey(tmp_path, save, photo):
    grey = photo[..., 0]
    path = save(tmp_path / "grey.png", grey)
    np.testing.assert_array_equal(read_channels(path, channels=3), np.stack([grey] * 3))
    path = save(tmp_path / "rgb.png", np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(read_channels(path, channels=1), grey[None])
    assert "has 3 channels (12 x 20 pixels), and 1 are expected" in refused(save(tmp_path / "c.png", photo), 1)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_opaque_alpha_is_dropped_and_another_one_is_asked_about(tmp_path, photo, mode, ending):
    plain = Image.fromarray(photo).convert(mode[:-1])
    image = plain.convert(mode)
    image.save(tmp_path / f"a.{ending}")
    expected = np.asarray(plain).reshape(*photo.shape[:2], -1).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_channels(tmp_path / f"a.{ending}", channels=len(expected)), expected)
    image.putpixel((0, 0), (0,) * len(mode))
    image.save(tmp_path / f"b.{ending}")
    said = refused(tmp_path / f"b.{ending}", len(expected))
    assert f"set in_channels={len(mode)}" in said


def test_a_transparent_colour_is_alpha(tmp_path, photo, save):
    photo[0, 0] = 7
    path = save(tmp_path / "a.png", photo, transparency=(7, 7, 7))
    assert read_channels(path, channels=4)[3].min() == 0
    assert "transparent pixels" in refused(path, 3)


@pytest.mark.parametrize(("mode", "wanted"), [("RGB", 4), ("L", 2), ("RGB", 2), ("RGBA", 5), ("L", 4)])
def test_channels_that_are_not_there_are_refused(tmp_path, photo, mode, wanted):
    Image.fromarray(photo).convert(mode).save(tmp_path / "a.png")
    assert f"{wanted} are expected" in refused(tmp_path / "a.png", wanted)


def test_inputs_are_eight_bit_colours_where_their_means_say_so(tmp_path, photo, save):
    path = save(tmp_path / "a.png", photo[..., 0].astype(np.uint16) * 257)
    got, _ = read_input(path, channels=3, normalization=MEAN_STD)
    np.testing.assert_array_equal(got, read_image(path).transpose(2, 0, 1))
    for other in (ZSCORE, dict(type="mean_std", mean=[1e4] * 3, std=[1e3] * 3)):
        assert read_input(path, channels=3, normalization=other)[0].dtype == np.uint16
