"""Photos and label maps: PNG, JPEG and TIFF."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from PIL import Image

from densevit.pictures.reading import read_channels, read_image, read_label
from tools.fuzzing.kind import Sample
from tools.fuzzing.mutations import mutate_bytes

SIZE = (23, 31)
SIGNATURE = 8  # bytes at the beginning of a PNG


def pictures(folder: Path) -> list[Sample]:
    """Each with the function by which such a file is read."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, SIZE, np.uint8)
    colors = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    palette = Image.fromarray(label, "P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    deep = Image.fromarray(label.astype(np.uint16) * 1000)
    return [
        *_saved(folder / "photo", Image.fromarray(colors), read_image, ("png", "jpg", "tif")),
        *_saved(
            folder / "grey", Image.fromarray(colors[..., 0]), lambda p: read_channels(p, channels=1), ("png", "tif")
        ),
        *_saved(folder / "label", Image.fromarray(label), read_label, ("png", "tif")),
        *_saved(folder / "palette", palette, read_label, ("png",)),
        *_saved(folder / "deep", deep, read_label, ("png",)),
        *_saved(folder / "packed", Image.fromarray(colors), read_image, ("tif",), compression="tiff_deflate"),
        *_saved(folder / "progressive", Image.fromarray(colors), read_image, ("jpg",), progressive=True),
    ]


def _saved(
    stem: Path, image: Image.Image, read: Callable[[Path], Any], endings: tuple[str, ...], **options: Any
) -> list[Sample]:
    samples = []
    for ending in endings:
        path = stem.with_suffix(f".{ending}")
        image.save(path, **options)
        png = ending == "png"
        samples.append(
            Sample(path=path, read=lambda path=path: read(path), checksum=png, rewrite=_chunks if png else None)
        )
    return samples


def _chunks(content: bytes, rng: Generator) -> bytes:
    """A PNG whose chunks are damaged inside, with right checksums, or missing, or twice there."""
    chunks, at = [], SIGNATURE
    while at + 12 <= len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    index = int(rng.integers(len(chunks)))
    kind, body = chunks[index]
    choice = rng.random()
    if choice < 0.15:
        del chunks[index]
    elif choice < 0.3:
        chunks.insert(index, (kind, body))
    elif kind == b"IDAT" and choice < 0.8:
        chunks[index] = (kind, zlib.compress(mutate_bytes(zlib.decompress(body), rng)))
    else:
        chunks[index] = (kind, mutate_bytes(body, rng))
    parts = (struct.pack(">I", len(body)) + kind + body + _crc(kind + body) for kind, body in chunks)
    return content[:SIGNATURE] + b"".join(parts)


def _crc(content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(content))
