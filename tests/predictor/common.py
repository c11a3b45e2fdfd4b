"""Photos to predict, and what is found afterwards."""

import numpy as np
from PIL import Image


def make_photo(size=(33, 48), seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.NEAREST))


def save_photo(path, *, size=(33, 48), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_photo(size, seed)).save(path)
    return path


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def read(path):
    with Image.open(path) as picture:
        return np.array(picture)


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
