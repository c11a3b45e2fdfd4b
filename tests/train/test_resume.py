"""What `--resume` finds in a run's folder: damaged files, other settings, the best weights of a run that was cut."""

import logging
import shutil

import pytest
import torch
from mmengine.registry import VISBACKENDS
from mmengine.visualization import BaseVisBackend

from densevit.checkpoint.snapshots import best_score, list_snapshots
from densevit.files import sha256
from densevit.train import train
from densevit.train.record import read_scalars
from tests.train.conftest import small_config
from tests.train.test_training import scalars

CPU = dict(device="cpu", progress=False)


@VISBACKENDS.register_module()
class CutAtScores(BaseVisBackend):
    """Ends the run without warning as soon as the scores of a validation are written."""

    experiment = None

    def _init_env(self):
        """Nothing to open."""

    def add_scalar(self, name, value, step=0, **_):
        if name.startswith("val/"):
            raise SystemError("power cut")


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    """A run of two iterations."""
    return train(short(small_config(scenes)), work_dir=tmp_path_factory.mktemp("run"), **CPU).work_dir


def short(config):
    config["train_cfg"].update(max_iters=2, checkpoint_interval=1, val_interval=2)
    return config


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def resume(config, folder, **changes):
    return train({**short(config), **changes}, work_dir=folder, resume=True, **CPU)


def test_a_run_cut_between_scores_and_best_weights_has_both(config, tmp_path):
    config["train_cfg"].update(max_iters=2, val_interval=1)
    with pytest.raises(SystemError):
        train({**config, "visualization": dict(backends=[dict(type="CutAtScores")])}, work_dir=tmp_path, **CPU)
    assert best_score(tmp_path) is not None
    resumed = train(config, work_dir=tmp_path, resume=True, **CPU)
    scores = [row["mIoU"] for row in scalars(tmp_path) if "mIoU" in row]
    assert len(scores) == 2
    assert best_score(tmp_path) == max(scores)
    assert resumed.best is not None


@pytest.mark.parametrize("line", [b"\xff\xfe", b'{"iter": "2"}', b'{"loss": 1}', b"[1]", b"[" * 100_000, b'{"iter": 1'])
def test_a_damaged_line_of_scalars_is_left_out(tmp_path, caplog, line):
    (tmp_path / "scalars.jsonl").write_bytes(b'{"iter": 1, "loss": 0.5}\n' + line + b'\n{"iter": 2, "loss": null}\n')
    assert read_scalars(tmp_path) == [dict(iter=1, loss=0.5), dict(iter=2, loss=None)]
    assert "left out a line that is damaged" in caplog.text


def test_the_same_config_resumes_without_a_word_of_settings_although_a_line_of_scalars_is_damaged(config, run, caplog):
    config["train_data"]["num_workers"] = 1
    (run / "scalars.jsonl").write_bytes(b"\xff\n" + (run / "scalars.jsonl").read_bytes())
    with caplog.at_level(logging.WARNING):
        resume(config, run)
    assert [record.args[1] for record in caplog.records] == ["\N{REPLACEMENT CHARACTER}"]


def test_what_differs_from_the_config_of_the_checkpoint_is_named(config, run, caplog, scenes, tmp_path):
    moved = shutil.copytree(scenes, tmp_path / "moved")
    for kind in ("images", "labels"):
        (moved / kind / "train" / "00.png").unlink()
    config["train_data"].update(batch_size=1, dataset=dict(type="folder", root=str(moved), split="train"))
    config["optimizer"]["lr"] = 1e-4
    config["train_cfg"]["max_iters"] = 3
    with caplog.at_level(logging.WARNING):
        train({**config, "seed": 5}, work_dir=run, resume=True, **CPU)
    (said,) = [record.getMessage() for record in caplog.records if "the config is not the one" in record.getMessage()]
    for each in (
        "seed was 0 and is 5",
        "optimizer.lr was 0.001 and is 0.0001",
        "train_data.batch_size was 2 and is 1",
        "train_data.images was 8 and is 7",
        "train_cfg.max_iters was 2 and is 3",
        f"train_data.dataset.root was '{scenes}' and is '{moved}'",
        "iter_2",
        "another --work-dir",
    ):
        assert each in said
    assert "log_interval" not in said


@pytest.mark.parametrize(
    ("section", "change", "said"),
    [
        ("train_cfg", dict(max_iters=1), "iter_2 is further than train_cfg.max_iters=1 of this config; give more"),
        ("optimizer", dict(type="SGD"), "of another optimizer .optimizer.type was 'AdamW' and is 'SGD'"),
        ("optimizer", dict(no_decay=()), "set optimizer.no_decay, lr_multipliers"),
    ],
)
def test_what_cannot_go_on_is_refused(config, run, section, change, said):
    short(config)[section].update(change)
    with pytest.raises(ValueError, match=said):
        train(config, work_dir=run, resume=True, **CPU)


@pytest.mark.parametrize(
    "change",
    [
        dict(iteration=None),
        dict(iteration=7),
        dict(draws="4"),
        dict(random=[dict(torch=1)]),
        dict(optimizer={}),
        dict(optimizer=dict(state={0: 1}, param_groups=[])),
        dict(raw_weights=3),
        dict(counts=7),
        dict(hooks=3, scaler=None),
    ],
    ids=str,
)
def test_a_state_that_no_run_could_go_on_from_is_one_sentence(config, run, change):
    newest = list_snapshots(run)[0]
    state = newest.read_state()
    torch.save({**state, **change}, newest.folder / "state.pt")
    names = ("weights.safetensors", "state.pt")
    (newest.folder / "SHA256SUMS").write_text("".join(f"{sha256(newest.folder / name)}  {name}\n" for name in names))
    with pytest.raises((OSError, ValueError)) as caught:
        resume(config, run)
    assert "\n" not in str(caught.value)
    assert "state.pt" in str(caught.value) or "--work-dir" in str(caught.value)
