"""A set of street scenes on disk, in the folder layout of Cityscapes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from densevit.data.layouts.cityscapes import PALETTE, TRAIN_ID_TO_LABEL_ID
from densevit.synthetic.made_set import Progress, make_set
from densevit.synthetic.streets.render import render_street_scene

MANIFEST = "street_scenes.json"
RENDERER = 2  # counts up when the same seed gives other pictures
CITIES = {"train": "northtown", "val": "southtown", "test": "westtown"}
EGO_VEHICLE = 1  # the label id of our own bonnet, which no train id stands for
LABEL_IDS = np.array([TRAIN_ID_TO_LABEL_ID.get(i, EGO_VEHICLE) for i in range(256)], dtype=np.uint8)
COLORS = np.array([*PALETTE, *[(0, 0, 0)] * (256 - len(PALETTE))], dtype=np.uint8)


def make_street_scenes(
    root: str | Path,
    *,
    num_train: int,
    num_val: int,
    num_test: int = 0,
    size: tuple[int, int] = (128, 256),
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Render a set of street scenes of `size` (H, W) into `root` and return it.

    The layout is that of Cityscapes: leftImg8bit/<split>/<city>/ with the pictures, gtFine/<split>/<city>/ with label
    ids, train ids and colours. Scene i of a split depends on `seed`, the split, i and `size` alone. The set is written
    aside and takes its name when it is complete; a complete set made with the same arguments is used again.
    `progress(done, total)` is called after each scene. Raises ValueError where `root` holds anything else.
    """
    counts = dict(train=num_train, val=num_val, test=num_test)
    manifest = dict(renderer=RENDERER, counts=counts, size=list(size), seed=seed)

    def draw(rng: np.random.Generator, files: Sequence[Path]) -> None:
        image, train_ids = render_street_scene(rng, size)
        for path, values in zip(files, (image, LABEL_IDS[train_ids], train_ids, COLORS[train_ids]), strict=True):
            Image.fromarray(values).save(path, compress_level=3)

    return make_set(root, manifest, name=MANIFEST, what="street scenes", paths=_paths, draw=draw, progress=progress)


def _paths(split: str, index: int) -> list[Path]:
    """Picture, label ids, train ids and colours of one scene."""
    city = CITIES[split]
    stem = f"{split}/{city}/{city}_000000_{index:06d}"
    truths = (f"gtFine/{stem}_gtFine_{kind}.png" for kind in ("labelIds", "labelTrainIds", "color"))
    return [Path(path) for path in (f"leftImg8bit/{stem}_leftImg8bit.png", *truths)]
