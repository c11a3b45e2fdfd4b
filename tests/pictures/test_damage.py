"""Damaged files never come through: what a file says of itself is compared with what it holds, whole."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from densevit.data import read_image, read_label

LABEL = np.kron(np.random.default_rng(0).integers(0, 7, (5, 6)), np.ones((8, 8))).astype(np.uint8)


def photo(size=(96, 128)):
    coarse = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(*, width=8, height=4, bits=8, color=0, raw=None, packed=None, before=()):
    """A PNG of 8 x 4 grey pixels of which the header may say something else; all checksums of its parts are right."""
    raw = b"".join(b"\0" + bytes(range(8 * i, 8 * i + 8)) for i in range(4)) if raw is None else raw
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    data = zlib.compress(raw) if packed is None else packed
    parts = [chunk(b"IHDR", header), *before, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def refused(path, content, read=read_label):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=path.name.replace(".", r"\.")) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_flipped_bit_in_a_label_png_gives_another_label(tmp_path):
    content, path = encoded(Image.fromarray(LABEL), "PNG"), tmp_path / "a.png"
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"a\.png"):
            read_label(path)


DISAGREEING = {
    "wider": png(width=9),
    "narrower": png(width=7),
    "higher": png(height=5),
    "lower": png(height=3),
    "more bits": png(bits=16),
    "fewer bits": png(bits=4),
    "colours": png(color=2),
    "no palette": png(color=3),
    "a palette of greys": png(before=[chunk(b"PLTE", bytes(6))]),
}


@pytest.mark.parametrize("content", DISAGREEING.values(), ids=DISAGREEING)
@pytest.mark.parametrize("read", [read_image, read_label])
def test_a_png_whose_header_does_not_fit_its_pixels_is_refused(tmp_path, content, read):
    assert "its header says" in refused(tmp_path / "a.png", content, read)


def test_a_png_whose_pixels_do_not_have_their_checksum_is_refused(tmp_path):
    packed = bytearray(zlib.compress(b"".join(b"\0" + bytes(range(8 * i, 8 * i + 8)) for i in range(4))))
    packed[-1] ^= 1
    assert "its pixels are damaged" in refused(tmp_path / "a.png", png(packed=bytes(packed)))


def test_sound_pngs_of_every_kind_are_read_as_before(tmp_path):
    for mode, options in [("L", {}), ("1", {}), ("P", {}), ("RGB", {}), ("L", dict(interlace=1))]:
        image = photo().convert(mode)
        path = tmp_path / "a.png"
        path.write_bytes(encoded(image, "PNG", **options))
        np.testing.assert_array_equal(read_image(path), np.asarray(image.convert("RGB")))
    tags = Image.Exif()
    tags[0x0112] = 6
    path.write_bytes(encoded(photo(), "PNG", exif=tags))
    assert read_image(path).shape == (128, 96, 3)


def test_interlaced_pngs_are_counted_by_their_passes(tmp_path):
    """Adam7 of 5 x 3 pixels by hand: six of the seven passes have pixels."""
    values = np.arange(15, dtype=np.uint8).reshape(3, 5)
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = [row for x, y, dx, dy in passes for row in values[y::dy, x::dx] if row.size]
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", 5, 3, 8, 0, 0, 0, 1)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    np.testing.assert_array_equal(read_label(tmp_path / "a.png"), values)


KINDS = {
    "usual": {},
    "optimized": dict(optimize=True),
    "restarts": dict(restart_marker_blocks=7),
    "grey": dict(grey=True),
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_a_jpeg_with_zeroed_bytes_is_refused(tmp_path, options):
    options = dict(options)
    image = photo().convert("L") if options.pop("grey", False) else photo()
    content = encoded(image, "JPEG", quality=90, **options)
    (tmp_path / "a.jpg").write_bytes(content)
    read_image(tmp_path / "a.jpg")
    start = content.index(b"\xff\xda") + 16
    for count in (16, 200):
        for place in np.linspace(start, len(content) - count - 40, 6).astype(int):
            damaged = content[:place] + bytes(count) + content[place + count :]
            assert "a part of it" in refused(tmp_path / "a.jpg", damaged, read_image)


@pytest.mark.parametrize("options", [{}, dict(progressive=True)], ids=str)
@pytest.mark.parametrize("factor", [0.5, 2])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_jpeg_whose_header_does_not_fit_its_pixels_is_refused(tmp_path, axis, factor, options):
    content = bytearray(encoded(photo(), "JPEG", **options))
    place = content.index(b"\xff\xc2" if options else b"\xff\xc0") + 5 + 2 * axis
    size = int.from_bytes(content[place : place + 2], "big")
    content[place : place + 2] = int(size * factor).to_bytes(2, "big")
    assert "a part of it is damaged" in refused(tmp_path / "a.jpg", bytes(content), read_image)


@pytest.mark.parametrize("options", [{}, dict(progressive=True)], ids=str)
def test_a_small_jpeg_that_says_it_is_huge_is_refused_before_it_is_decoded(tmp_path, options):
    content = bytearray(encoded(photo(), "JPEG", **options))
    place = content.index(b"\xff\xc2" if options else b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", 24_000, 24_000)
    assert "too few for its size" in refused(tmp_path / "a.jpg", bytes(content), read_image)


def test_a_gif_larger_than_pils_limit_is_refused(tmp_path):
    content = bytearray(encoded(photo().convert("P"), "GIF"))
    content[6:10] = struct.pack("<HH", 40_000, 40_000)
    assert "decompression bomb" in refused(tmp_path / "a.gif", bytes(content))


@pytest.mark.parametrize(("marker", "said"), [(b"\xff\xdb", "quantization tables hold 0"), (b"\xff\xc4", "a.jpg")])
def test_a_jpeg_with_zeroed_tables_is_refused(tmp_path, marker, said):
    content = encoded(photo(), "JPEG")
    place = content.index(marker) + 5
    assert said in refused(tmp_path / "a.jpg", content[:place] + bytes(40) + content[place + 40 :], read_image)


def test_sound_jpegs_of_every_kind_are_read_as_pil_does(tmp_path):
    kinds = [
        dict(progressive=True),
        dict(optimize=True),
        dict(restart_marker_rows=1),
        dict(subsampling=0),
        dict(quality=5),
    ]
    for size in [(1, 1), (7, 9), (96, 128), (33, 500)]:
        for mode in ("RGB", "L", "CMYK"):
            for options in kinds:
                image = photo(size).convert(mode)
                content = encoded(image, "JPEG", **options)
                (tmp_path / "a.jpg").write_bytes(content)
                with Image.open(io.BytesIO(content)) as stored:
                    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), np.asarray(stored.convert("RGB")))


def test_periodic_jpegs_may_hold_long_zeros(tmp_path):
    """One tile again and again: the codes of zeros are of its blocks."""
    tile = np.random.default_rng(3).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for quality in (20, 60, 95):
        for progressive in (True, False):
            image = Image.fromarray(np.tile(tile, (60, 70, 1)))
            (tmp_path / "a.jpg").write_bytes(encoded(image, "JPEG", quality=quality, progressive=progressive))
            assert read_image(tmp_path / "a.jpg").shape == (480, 560, 3)


def test_a_flat_jpeg_whose_data_are_nothing_but_zeros_is_sound(tmp_path):
    content = encoded(Image.new("L", (512, 512), 128), "JPEG", optimize=True)
    assert bytes(16) in content[content.index(b"\xff\xda") :]
    (tmp_path / "a.jpg").write_bytes(content)
    assert (read_image(tmp_path / "a.jpg") == 128).all()


def tiff(pixels, *, compression=1, height=None, rows=None, byte_count=None, order="<"):
    """A TIFF of bytes in one strip, of which the tags may say something else."""
    data = zlib.compress(pixels.tobytes()) if compression == 8 else pixels.tobytes()
    data += bytes(len(data) % 2)
    said = {256: pixels.shape[1], 257: height or len(pixels), 258: 8, 259: compression, 262: 1, 273: 8, 277: 1,
            278: rows or height or len(pixels), 279: byte_count or len(data)}  # fmt: skip
    entries = [struct.pack(f"{order}HHII", key, 4, 1, value) for key, value in said.items()]
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(said)) + b"".join(entries) + bytes(4)


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_whose_strips_do_not_hold_its_pixels_is_refused(tmp_path, compression, order):
    options = dict(compression=compression, order=order)
    (tmp_path / "a.tif").write_bytes(tiff(LABEL, **options))
    np.testing.assert_array_equal(read_label(tmp_path / "a.tif"), LABEL)
    for said in (dict(height=60, rows=40), dict(height=60), dict(height=30), dict(byte_count=1 << 20)):
        for read in (read_image, read_label):
            refused(tmp_path / "a.tif", tiff(LABEL, **options, **said), read)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_a_packed_tiff_with_too_few_pixels_is_refused(tmp_path, compression):
    content = encoded(Image.fromarray(LABEL), "TIFF", compression=compression)
    for key in (257, 278):  # height, and rows of a strip
        content = content.replace(struct.pack("<HHIHH", key, 3, 1, 40, 0), struct.pack("<HHIHH", key, 3, 1, 60, 0))
    refused(tmp_path / "a.tif", content)


def test_a_deflated_tiff_whose_pixels_do_not_have_their_checksum_is_refused(tmp_path):
    content = bytearray(tiff(LABEL, compression=8))
    content[8 + len(zlib.compress(LABEL.tobytes())) - 1] ^= 1
    assert "its pixels are damaged" in refused(tmp_path / "a.tif", bytes(content))


@pytest.mark.parametrize("kind", ["BMP", "PPM"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_raster_whose_header_says_fewer_rows_than_it_holds_is_refused(tmp_path, kind, mode):
    content, path = encoded(photo().convert(mode), kind), tmp_path / f"a.{kind.lower()}"
    path.write_bytes(content + b"\n" * (kind == "PPM"))
    assert read_image(path).shape == (96, 128, 3)
    lower = {"BMP": struct.pack("<ii", 128, 95), "PPM": b"128 95\n"}[kind]
    damaged = content.replace({"BMP": struct.pack("<ii", 128, 96), "PPM": b"128 96\n"}[kind], lower, 1)
    assert "its header says 128 x 95 pixels, and it holds more" in refused(path, damaged, read_image)


def test_a_tiff_of_many_pages_is_refused_by_its_second(tmp_path):
    """The third page lies beyond the end of the file: whoever counts all of them fails in another way, and late."""
    page = Image.fromarray(LABEL)
    content = bytearray(encoded(page, "TIFF", save_all=True, append_images=[page] * 3))
    place = 4  # of the address of the first page's tags
    for _ in range(2):
        (tags,) = struct.unpack_from("<I", content, place)
        place = tags + 2 + 12 * struct.unpack_from("<H", content, tags)[0]
    struct.pack_into("<I", content, place, 1 << 30)
    for read in (read_image, read_label):
        assert "several pages" in refused(tmp_path / "a.tif", bytes(content), read)


def test_a_file_of_which_pil_fails_in_its_own_way_is_one_sentence(tmp_path):
    content = tiff(LABEL)
    for key in (256, 257, 273, 262):
        said = refused(
            tmp_path / "a.tif", content.replace(struct.pack("<HHI", key, 4, 1), struct.pack("<HHI", 900, 4, 1))
        )
        assert said.startswith(f"cannot read {tmp_path / 'a.tif'}: ")


def test_a_name_with_a_null_byte_is_one_sentence():
    for read in (read_image, read_label):
        with pytest.raises(ValueError, match=r"cannot read 'a\\x00\.png': no file has a name with a null byte"):
            read("a\0.png")
