"""A checkpoint, photos, and a config with its data, all tiny."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.checkpoints import save_tiny_checkpoint
from tests.predictor.common import save_photo

CLASSES = ("sky", "road", "car")
CONFIG = """
'''Three classes, for the tests.'''
model = dict(backbone="mit_b0", decoder="all_mlp", num_classes=3, decoder_options=dict(dim=16))
loss = [dict(type="cross_entropy")]
optimizer = dict(type="AdamW", lr=1e-3)
schedule = dict(type="poly")
train_cfg = dict(max_iters=2, val_interval=2, checkpoint_interval=2, log_interval=1)
data = dict(type="folder", root="{root}", images="images", labels="labels", classes="classes.json")
train_data = dict(dataset=data, augment=dict(crop_size=(32, 32)), batch_size=2, num_workers=0)
val_data = dict(dataset=data, num_workers=0)
visualization = dict(tensorboard=False, num_images=0)
del data
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "weights.safetensors"
    return save_tiny_checkpoint(path, num_classes=3, classes=CLASSES)


@pytest.fixture
def photos(tmp_path):
    """Two photos in a folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(2):
        save_photo(folder / f"photo_{i}.png", size=(40, 56), seed=i)
    return folder


@pytest.fixture
def config(tmp_path):
    """A config of two pictures with labels."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for i in range(2):
        save_photo(root / "images" / f"{i}.png", size=(40, 56), seed=i)
        label = np.random.default_rng(i).choice(np.array([0, 1, 2, 255], np.uint8), (40, 56))
        Image.fromarray(label).save(root / "labels" / f"{i}.png")
    (root / "classes.json").write_text(json.dumps(CLASSES))
    path = tmp_path / "config.py"
    path.write_text(CONFIG.format(root=root))
    return path
