"""Label files: numbers come out as they were written, colours as the classes they stand for, and nothing is guessed."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from densevit.data import read_label
from densevit.labels import default_palette
from densevit.pictures.coding import LabelCoding, parse_color_map

COLORS = {(128, 64, 128): 0, (0, 0, 142): 1, (0, 0, 0): 255}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_grey_labels_keep_their_values(tmp_path, save, dtype, ending):
    values = np.arange(240, dtype=dtype).reshape(12, 20) * (1 if dtype == np.uint8 else 257)
    np.testing.assert_array_equal(read_label(save(tmp_path / f"a.{ending}", values)), values)


def test_palette_labels_keep_their_indices(tmp_path):
    indices = np.random.default_rng(0).integers(0, 4, (12, 20), dtype=np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putpalette([200, 0, 0, 0, 200, 0, 9, 9, 9, 9, 9, 9])  # two indices share one colour
    image.putdata(indices.ravel().tolist())
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png"), indices)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_packed_grey_labels_are_not_stretched(tmp_path, bits):
    """Image tools write small values as 2- or 4-bit PNG, which viewers show as 0 to 255."""
    values = np.random.default_rng(0).integers(0, 1 << bits, (8, 16), dtype=np.uint8)
    planes = np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :].reshape(8, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(planes, axis=-1))
    header = struct.pack(">IIBBBBB", 16, 8, bits, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    np.testing.assert_array_equal(read_label(tmp_path / "a.png"), values)


def test_colours_become_classes(tmp_path, save):
    ids = np.random.default_rng(0).choice([0, 1, 255], (12, 20)).astype(np.uint8)
    colors = {index: color for color, index in COLORS.items()}
    path = save(tmp_path / "a.png", np.array([[colors[i] for i in row] for row in ids], np.uint8))
    np.testing.assert_array_equal(read_label(path, color_map=COLORS), ids)


def test_the_colours_of_a_palette_file_count_when_a_color_map_is_given(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([128, 64, 128, 0, 0, 142])
    image.save(tmp_path / "a.png")
    assert (read_label(tmp_path / "a.png", color_map=COLORS) == 1).all()


def test_an_unknown_colour_is_named_with_its_file(tmp_path, save):
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[1, 2] = 1, 2, 3
    path = save(tmp_path / "odd.png", pixels)
    with pytest.raises(ValueError, match=r"odd\.png has 1 colour that color_map does not list, such as \(1, 2, 3\)"):
        read_label(path, color_map=COLORS)


def test_a_colour_label_without_color_map_is_refused(tmp_path, photo, save):
    with pytest.raises(ValueError, match=r"a\.png is a colour picture .* or give color_map"):
        read_label(save(tmp_path / "a.png", photo))


def test_a_grey_label_saved_with_three_equal_channels_is_read_as_grey(tmp_path, save):
    values = np.arange(16, dtype=np.uint8).reshape(4, 4)
    np.testing.assert_array_equal(read_label(save(tmp_path / "a.png", np.stack([values] * 3, -1))), values)


def test_jpeg_labels_are_refused(tmp_path, save):
    with pytest.raises(ValueError, match=r"a\.jpg is a JPEG.*PNG"):
        read_label(save(tmp_path / "a.jpg", np.zeros((8, 8), np.uint8)))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [("a.tif", dict(compression="jpeg"), "TIFF with JPEG"), ("a.webp", dict(quality=95), "lossy WebP")],
)
def test_lossy_labels_in_any_format_are_refused(tmp_path, save, name, options, said):
    with pytest.raises(ValueError, match=rf"{said}.*changes label values; save labels as PNG"):
        read_label(save(tmp_path / name, np.arange(160, dtype=np.uint8).reshape(8, 20), **options))


def test_a_lossless_webp_label_keeps_its_values(tmp_path, save):
    values = np.arange(160, dtype=np.uint8).reshape(8, 20)
    np.testing.assert_array_equal(read_label(save(tmp_path / "a.webp", values, lossless=True)), values)


def test_a_grey_gif_gives_its_greys_although_its_writer_renumbered_them(tmp_path, save):
    values = np.array([[0, 3, 11, 255]] * 8, np.uint8)
    np.testing.assert_array_equal(read_label(save(tmp_path / "a.gif", values)), values)


@pytest.mark.parametrize("peak", [4, 18, 255, 300, 65535])
@pytest.mark.parametrize("plain", [False, True], ids=["binary", "plain"])
def test_pgm_labels_keep_their_values_whatever_their_maximum(tmp_path, peak, plain):
    values = np.array([[0, 1, 2, 3, 4]] * 3)
    body = values.astype(">u2" if peak > 255 else np.uint8).tobytes()
    text = " ".join(map(str, values.ravel())).encode()
    (tmp_path / "a.pgm").write_bytes(b"P%d\n5 3\n%d\n" % (2 if plain else 5, peak) + (text if plain else body))
    np.testing.assert_array_equal(read_label(tmp_path / "a.pgm"), values)


def test_float_labels_are_refused(tmp_path, save):
    with pytest.raises(ValueError, match=r"a\.tif holds floating-point values"):
        read_label(save(tmp_path / "a.tif", np.zeros((8, 8), np.float32)))


@pytest.mark.parametrize(
    "given",
    [
        [(128, 64, 128), (0, 0, 142)],
        {(128, 64, 128): 0, (0, 0, 142): "car"},
        {"road": [128, 64, 128], "car": "#00008e"},
        {"128,64,128": "road", "0,0,142": 1},
    ],
)
def test_colour_maps_may_be_written_in_several_ways(given):
    assert parse_color_map(given, classes=("road", "car")) == {(128, 64, 128): 0, (0, 0, 142): 1}


def test_a_colour_map_may_ignore_colours():
    assert parse_color_map({"#000000": "ignore", (1, 1, 1): 255}, classes=("road",)) == {(0, 0, 0): 255, (1, 1, 1): 255}


@pytest.mark.parametrize("given", [{(0, 0, 300): 0}, {(0, 0, 3): "bus"}, {(0, 0, 3): 7}, [(0, 0, 0)]])
def test_a_wrong_colour_map_is_refused(given):
    with pytest.raises(ValueError, match=r"colour|color"):
        parse_color_map(given, classes=("road", "car"))


def test_default_palettes_have_distinct_colours():
    assert len(set(default_palette(254))) == 254


def test_reduce_zero_label_ignores_zero_and_keeps_the_ignored():
    coding = LabelCoding(num_classes=150, reduce_zero_label=True)
    ids = coding.decode(np.array([[0, 1, 2, 150, 255]], np.uint8), path="a.png")
    assert ids.tolist() == [[255, 0, 1, 149, 255]]


def test_label_map_replaces_the_values_it_names():
    coding = LabelCoding(num_classes=3, label_map={1000: 2, 7: 255}, ignore_value=9)
    assert coding.decode(np.array([[0, 1, 1000, 7, 9]], np.uint16), path="a.png").tolist() == [[0, 1, 2, 255, 255]]


@pytest.mark.parametrize(
    ("options", "values", "said"),
    [
        (dict(num_classes=3), [0, 1, 7], "label value 7 .* 3 classes take 0 to 2 and 255 .*label_map"),
        (dict(num_classes=3), [0, 3], "ignore_index=3"),
        (dict(num_classes=3), [1, 2, 3], "reduce_zero_label=True"),
        (dict(num_classes=2, ignore_value=None), [0, 255], "black-and-white mask"),
        (dict(num_classes=3, ignore_value=11), [0, 1, 255], "ignore_index=255"),
        (dict(num_classes=3), [7, 24001], "instance ids"),
        (dict(num_classes=3), [0, -1], "label value -1 "),
        (dict(num_classes=3), [0, 70_000], "label value 70000 "),
        (dict(num_classes=150, reduce_zero_label=True), [0, 151, 254], "label values 151, 254 .* take 1 to 150"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_file_and_a_way_out(options, values, said):
    small = min(values) >= 0 and max(values) < 256
    with pytest.raises(ValueError, match=rf"^b/odd\.png has the {said}" if said.startswith("label v") else said):
        LabelCoding(**options).decode(np.array([values], np.uint8 if small else np.int32), path="b/odd.png")


@pytest.mark.parametrize("options", [dict(num_classes=0), dict(num_classes=255), dict(num_classes=3, label_map={4: 3})])
def test_a_coding_that_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match=r"classes|label_map"):
        LabelCoding(**options)
