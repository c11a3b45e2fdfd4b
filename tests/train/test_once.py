"""What a run does once: it checks its config, builds its model, and reads the weights that it is given."""

import pytest

from densevit.cli.main import main
from densevit.segmentor import Segmentor
from densevit.train import check_config, load_config, train
from densevit.train.schema import ConfigFile
from densevit.weights import read_weights
from tests.common import calls
from tests.train.test_training import write_config


@pytest.fixture
def path(config, tmp_path):
    config["train_cfg"].update(max_iters=2, val_interval=1, checkpoint_interval=1, ema=0.9)
    return write_config(tmp_path / "small.py", config)


@pytest.mark.parametrize("once", [ConfigFile.__post_init__, Segmentor.__init__], ids=["config checked", "model built"])
def test_a_training_run_does_it_once(path, tmp_path, once):
    command = ["train", path, "--work-dir", str(tmp_path / "run"), "--device", "cpu"]
    assert calls(once, lambda: main([*command, "--amp", "--cfg-options", "seed=3"])) == 1
    assert calls(once, lambda: main([*command, "--amp", "--resume", "--cfg-options", "train_cfg.max_iters=3"])) == 1


@pytest.mark.parametrize(
    "once",
    [ConfigFile.__post_init__, Segmentor.__init__, read_weights],
    ids=["config checked", "model built", "weights read"],
)
def test_a_test_does_it_once(path, tmp_path, once):
    trained = train(load_config(path), work_dir=tmp_path / "run", device="cpu")
    flags = ["--mode", "slide", "--roi-size", "32", "--stride", "32", "--cfg-options", "seed=3", "--device", "cpu"]
    assert calls(once, lambda: main(["test", path, str(trained.checkpoint), *flags])) == 1


def test_a_checked_config_is_taken_as_it_is(config):
    checked = check_config(config)
    assert check_config(checked) is checked
