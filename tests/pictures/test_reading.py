"""Photos: each kind of file is read right, or refused in one sentence that names it."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from densevit.data import read_image
from densevit.pictures.picture import load_picture
from densevit.pictures.reading import turn, turn_back


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def message(path, read=read_image):
    with pytest.raises(ValueError, match=path.name.replace(".", r"\.")) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.ppm", "a.webp"])
def test_lossless_colours_are_kept(tmp_path, photo, save, name):
    path = save(tmp_path / name, photo, **({"lossless": True} if name == "a.webp" else {}))
    image = read_image(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, photo)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGBA"])
def test_other_modes_become_the_rgb_they_show(tmp_path, photo, mode):
    ending = "tif" if mode == "CMYK" else "png"
    shown = Image.fromarray(photo).convert(mode)
    shown.save(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{ending}"), np.asarray(shown.convert("RGB")))


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_become_eight_by_value_over_257(tmp_path, ending, channels):
    values = np.random.default_rng(0).integers(0, 65536, (12, 20, channels), dtype=np.uint16)
    values[..., 3:] = 65535
    values[0, :3, 0] = 0, 128, 65535
    path = tmp_path / f"a.{ending}"
    stored = values if channels == 1 else values[..., [2, 1, 0, 3][:channels]]  # OpenCV writes BGR
    cv2.imwrite(str(path), stored)
    expected = np.rint(values[..., :3] / 257).astype(np.uint8)
    np.testing.assert_array_equal(read_image(path), np.broadcast_to(expected, (12, 20, 3)))


@pytest.mark.parametrize("ending", ["png", "tif", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_as_their_exif_says(tmp_path, photo, save, ending, orientation):
    path = save(tmp_path / f"a.{ending}", photo, exif=exif(orientation))
    with Image.open(path) as image:
        image.load()
        np.testing.assert_array_equal(read_image(path), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turn_back_undoes_turn(photo, orientation):
    np.testing.assert_array_equal(turn_back(turn(photo, orientation), orientation), photo)


def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path, photo, save):
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", photo, exif=exif(0))), photo)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp", "a.webp"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_truncated_files_are_refused(tmp_path, name, part, save):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / name, pixels)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    assert "copy" in message(path)


@pytest.mark.parametrize("missing", [1, 5, 12, 20])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_few_missing_bytes_are_enough_to_refuse(tmp_path, photo, save, name, missing):
    path = save(tmp_path / name, photo)
    path.write_bytes(path.read_bytes()[:-missing])
    assert "truncated" in message(path)


def test_truncated_files_are_refused_when_another_library_allows_them(tmp_path, photo, save, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = save(tmp_path / "a.jpg", photo)
    path.write_bytes(path.read_bytes()[:-100])
    assert "truncated" in message(path)


def test_a_flipped_byte_in_a_png_is_noticed(tmp_path, photo, save):
    path = save(tmp_path / "a.png", photo)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    message(path)


def test_files_that_are_no_picture_are_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("version https://git-lfs.github.com/spec/v1")
    assert "not a PNG" in message(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        read_image(tmp_path / "gone.png")


def test_a_decompression_bomb_is_refused(tmp_path):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0))
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b""))
    assert "decompression bomb" in message(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp", "a.ppm"])
def test_pictures_larger_than_pils_limit_are_read(tmp_path, photo, save, monkeypatch, recwarn, name):
    path = save(tmp_path / name, photo)
    before = read_image(path)
    for limit in (photo.shape[0] * photo.shape[1] // 4, photo.shape[0] * photo.shape[1] - 1):  # an error, and a warning
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        np.testing.assert_array_equal(read_image(path), before)
        assert load_picture(path).image.size == (20, 12)
    assert not recwarn.list


def test_a_picture_that_would_fill_the_memory_is_refused_by_its_header(tmp_path, save):
    path = save(tmp_path / "a.bmp", np.zeros((8, 8, 3), np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[:18] + struct.pack("<ii", 40_000, 30_000) + content[26:])
    for read in (read_image, load_picture):
        assert "its 40000 x 30000 pixels of 3 channels would take 14.4 GB as float32" in message(path, read)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_photos_are_refused_with_the_way_out(tmp_path, photo, mode):
    image = Image.fromarray(photo).convert(mode)
    image.putpixel((0, 0), (0,) * len(mode))
    image.save(tmp_path / "a.png")
    assert "opaque background" in message(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_transparent_colour_that_occurs_is_refused_and_one_that_does_not_is_dropped(tmp_path, mode):
    transparent = (7, 7, 7) if mode == "RGB" else 7
    image = Image.new(mode, (8, 8), (9, 9, 9) if mode == "RGB" else 9)
    if mode == "P":
        image.putpalette(np.arange(256, dtype=np.uint8).repeat(3).tobytes())
    image.save(tmp_path / "opaque.png", transparency=transparent)
    np.testing.assert_array_equal(read_image(tmp_path / "opaque.png"), np.asarray(image.convert("RGB")))
    image.putpixel((2, 3), transparent)
    image.save(tmp_path / "hole.png", transparency=transparent)
    assert "transparent" in message(tmp_path / "hole.png")


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_photos_without_a_defined_range_are_refused(tmp_path, save, dtype):
    assert "8 or 16 bits" in message(save(tmp_path / "a.tif", np.ones((8, 8), dtype)))


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.png"])
def test_files_of_several_pictures_are_refused(tmp_path, photo, save, name):
    path = save(tmp_path / name, photo, save_all=True, append_images=[Image.fromarray(255 - photo)])
    assert "several pages" in message(path)


def test_the_thumbnail_in_a_tiff_is_no_second_picture(tmp_path, photo, save):
    path = save(tmp_path / "a.tif", photo, save_all=True, append_images=[Image.fromarray(photo).resize((5, 3))])
    np.testing.assert_array_equal(read_image(path), photo)
