"""A predictor with random weights, and a folder of photos."""

import pytest

from densevit.predictor import Predictor
from tests.checkpoints import save_tiny_checkpoint
from tests.predictor.common import save_photo


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_tiny_checkpoint(tmp_path_factory.mktemp("run") / "weights.safetensors")


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return Predictor(checkpoint)


@pytest.fixture
def photos(tmp_path):
    """data/{a.png, b.jpg, deeper/a.png} of several sizes."""
    folder = tmp_path / "data"
    save_photo(folder / "a.png", size=(33, 48), seed=1)
    save_photo(folder / "b.jpg", size=(40, 31), seed=2)
    save_photo(folder / "deeper" / "a.png", size=(32, 32), seed=3)
    return folder
