"""Pictures of other channels than RGB: trained, tested and predicted from the command line."""

import cv2
import numpy as np
import pytest

from densevit.cli.main import main
from densevit.weights import read_weights
from tests.train.conftest import small_config
from tests.train.test_training import write_config


def write_set(root, write, *, channels):
    """Scenes of three classes whose bands tell which is which."""
    rng = np.random.default_rng(0)
    (root / "labels").mkdir(parents=True)
    (root / "images").mkdir()
    (root / "classes.txt").write_text("ground\nbox\nsky\n")
    for i in range(5):
        label = np.zeros((48, 64), np.uint8)
        label[: rng.integers(10, 24)] = 2
        label[30:44, 8 + i : 30 + i] = 1
        bands = rng.normal(1000, 50, (48, 64, channels)) + label[..., None] * 400.0 * np.arange(1, channels + 1)
        write(root / "images" / f"{i}", bands)
        cv2.imwrite(str(root / "labels" / f"{i}.png"), label)


def tiff(path, bands):
    cv2.imwrite(str(path.with_suffix(".tif")), bands.astype(np.uint16))


def grey(path, bands):
    cv2.imwrite(str(path.with_suffix(".png")), (bands[..., 0] / 16).astype(np.uint8))


def array(path, bands):
    np.save(path.with_suffix(".npy"), bands.astype(np.float32))


@pytest.mark.parametrize(
    ("write", "channels", "normalization"),
    [
        pytest.param(tiff, 4, None, id="tiff of four bands"),
        pytest.param(grey, 1, dict(type="mean_std", mean=[90.0], std=[40.0]), id="grey"),
        pytest.param(array, 6, None, id="array of six bands"),
    ],
)
def test_pictures_of_any_channels_are_trained_tested_and_predicted_by_commands(
    tmp_path, write, channels, normalization
):
    write_set(tmp_path / "set", write, channels=channels)
    config = small_config(tmp_path / "set")
    config["model"]["in_channels"] = channels
    config["train_cfg"].update(max_iters=2, val_interval=2)
    keys = dict(images="images", labels="labels", val_every=5, in_channels=channels, normalization=normalization)
    for section in ("train_data", "val_data"):
        config[section]["dataset"].update(keys)
    path, run = write_config(tmp_path / "bands.py", config), tmp_path / "run"
    assert main(["train", path, "--work-dir", str(run), "--device", "cpu"]) == 0
    trained = run / "checkpoints/iter_2/weights.safetensors"
    header = read_weights(trained)[1]
    assert header["model"]["in_channels"] == channels
    assert header["normalization"]["type"] == ("zscore" if normalization is None else "mean_std")
    out = tmp_path / "out"
    assert main(["test", path, str(trained), "--device", "cpu", "--out", str(out)]) == 0
    assert len(list(out.rglob("*.png"))) > 0
    image, masks = next((tmp_path / "set/images").iterdir()), tmp_path / "masks"
    assert main(["predict", str(trained), str(image), "--out", str(masks), "--device", "cpu"]) == 0
    (mask,) = masks.rglob("*.png")
    assert cv2.imread(str(mask), cv2.IMREAD_UNCHANGED).shape[:2] == (48, 64)
