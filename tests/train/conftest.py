"""A folder data set of coloured rectangles and a config small enough for a CPU."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ["ground", "box", "sky"]
COLORS = np.array([[120, 110, 100], [200, 30, 40], [90, 140, 230]])


def write_scene(root: Path, split: str, name: str, *, rng: np.random.Generator, ignored: bool = False) -> None:
    label = np.zeros((48, 64), np.uint8)
    label[: rng.integers(10, 24)] = 2
    top, left = rng.integers(16, 28), rng.integers(0, 40)
    label[top : top + 16, left : left + 20] = 1
    image = np.clip(COLORS[label] + rng.normal(0, 12, (48, 64, 3)), 0, 255).astype(np.uint8)
    for kind, array in (("images", image), ("labels", np.full_like(label, 255) if ignored else label)):
        folder = root / kind / split
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / f"{name}.png")


@pytest.fixture(scope="session")
def scenes(tmp_path_factory) -> Path:
    """Eight training and three validation scenes of 48 x 64, three classes."""
    root = tmp_path_factory.mktemp("scenes")
    (root / "classes.json").write_text(json.dumps(dict(classes=CLASSES)))
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for i in range(count):
            write_scene(root, split, f"{i:02}", rng=rng)
    return root


@pytest.fixture
def config(scenes) -> dict:
    """Six iterations of two crops of 32 x 32."""
    return small_config(scenes)


def small_config(root: Path) -> dict:
    def dataset(split: str) -> dict:
        return dict(type="folder", root=str(root), split=split)

    return dict(
        model=dict(backbone="mit_b0", decoder="all_mlp", num_classes=3, decoder_options=dict(dim=32)),
        loss=[dict(type="cross_entropy")],
        optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.01, no_decay=("norm",), lr_multipliers=dict(head=2.0)),
        schedule=dict(type="poly", warmup_iters=2),
        train_cfg=dict(max_iters=6, val_interval=6, checkpoint_interval=3, log_interval=1),
        train_data=dict(dataset=dataset("train"), augment=dict(crop_size=(32, 32)), batch_size=2, num_workers=0),
        val_data=dict(dataset=dataset("val"), num_workers=0),
        visualization=dict(tensorboard=False, num_images=1),
    )
