"""A set of street scenes on disk, in the folder layout of Cityscapes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from densevit.data.layouts.cityscapes import PALETTE, TRAIN_ID_TO_LABEL_ID
from densevit.synthetic.made_set import make_set
from densevit.synthetic.streets.render import render_street_scene

MANIFEST = "street_scenes.json"
RENDERER = 1  # counts up when the same seed gives other pictures
CITIES = {"train": "northtown", "val": "southtown", "test": "westtown"}
EGO_VEHICLE = 1  # the label id of our own bonnet, which no train id stands for


def _lookup(
    values: dict[int, int] | dict[int, tuple[int, int, int]], ignored: int | tuple[int, int, int]
) -> np.ndarray:
    """A table from uint8 train ids to label ids (256,) or colours (256, 3)."""
    table = np.full((256, *np.shape(ignored)), ignored, dtype=np.uint8)
    for train_id, value in values.items():
        table[train_id] = value
    return table


LABEL_IDS = _lookup(TRAIN_ID_TO_LABEL_ID, EGO_VEHICLE)
COLORS = _lookup(dict(enumerate(PALETTE)), (0, 0, 0))


def make_street_scenes(
    root: str | Path,
    *,
    num_train: int,
    num_val: int,
    num_test: int = 0,
    size: tuple[int, int] = (128, 256),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render a set of street scenes of `size` (H, W) into `root` and return it.

    The layout is that of Cityscapes: leftImg8bit/<split>/<city>/ with the pictures, gtFine/<split>/<city>/ with label
    ids, train ids and colours. Scene i of a split depends on `seed`, the split, i and `size` alone. The set is written
    aside and takes its name when it is complete; a complete set made with the same arguments is used again.
    `progress(done, total)` is called after each scene. Raises ValueError where `root` holds anything else.
    """
    root = Path(root)
    counts = dict(train=num_train, val=num_val, test=num_test)
    if min(counts.values()) < 0 or sum(counts.values()) == 0 or not 0 <= seed < 1 << 63:
        raise ValueError(
            f"cannot make {counts} scenes with seed {seed}; ask for at least one scene and a seed from 0 up"
        )
    manifest = dict(renderer=RENDERER, counts=counts, size=list(size), seed=seed)

    def write(aside: Path) -> None:
        for done, (split, index) in enumerate(_scenes(counts), start=1):
            _write_scene(aside, split, index=index, size=size, seed=seed)
            if progress is not None:
                progress(done, sum(counts.values()))

    files = [path for split, index in _scenes(counts) for path in _paths(Path(), split, index=index).values()]
    return make_set(root, manifest, name=MANIFEST, what="street scenes", files=files, write=write)


def _scenes(counts: dict[str, int]) -> Iterator[tuple[str, int]]:
    return ((split, index) for split, count in counts.items() for index in range(count))


def _paths(root: Path, split: str, *, index: int) -> dict[str, Path]:
    """The four files of one scene."""
    city = CITIES[split]
    name = f"{city}_000000_{index:06d}"
    truth = root / "gtFine" / split / city / f"{name}_gtFine"
    return dict(
        image=root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png",
        labelIds=truth.with_name(f"{truth.name}_labelIds.png"),
        labelTrainIds=truth.with_name(f"{truth.name}_labelTrainIds.png"),
        color=truth.with_name(f"{truth.name}_color.png"),
    )


def _write_scene(root: Path, split: str, *, index: int, size: tuple[int, int], seed: int) -> None:
    key = np.array([seed, list(CITIES).index(split) << 32 | index], dtype=np.uint64)
    image, train_ids = render_street_scene(np.random.Generator(np.random.Philox(key=key)), size)
    pictures = dict(image=image, labelIds=LABEL_IDS[train_ids], labelTrainIds=train_ids, color=COLORS[train_ids])
    for name, path in _paths(root, split, index=index).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[name]).save(path, compress_level=3)
