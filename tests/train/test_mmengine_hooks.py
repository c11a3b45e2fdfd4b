"""Hooks of mmengine, and those of a user, by name in `custom_hooks`."""

import inspect
import json
import re

import mmengine.hooks
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, VISBACKENDS
from mmengine.visualization import BaseVisBackend
from mmengine.visualization.vis_backend import force_init_env

from densevit.cli.main import main
from densevit.train import train
from tests.train.hooks import cut_at
from tests.train.test_training import assert_same, final_state, scalars, write_config

SHORT = dict(max_iters=4, val_interval=2, checkpoint_interval=2)
NOT_OF_A_RUN = {  # what mmengine's hooks ask of a runner that tests, of their own documentation, or of CheckpointHook
    *("train", "checkpoint", "save_checkpoint", "test_dataloader", "test_loop"),
}


def hooked(config, *hooks, **settings):
    """The config with hooks, and fewer iterations."""
    return {**config, "train_cfg": {**config["train_cfg"], **SHORT, **settings}, "custom_hooks": list(hooks)}


@HOOKS.register_module()
class Notes(Hook):
    """What a user's hook may see of a run."""

    seen: list = []

    def before_run(self, runner):
        self.seen.clear()
        self.seen.append(("before_run", runner.cfg.model.backbone, runner.work_dir))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        loss = runner.message_hub.get_scalar("train/loss").current()
        assert float(outputs["loss"]) == float(loss)
        assert data_batch["image"].shape[1] == 3
        self.seen.append((runner.iter, runner.max_iters, runner.optim_wrapper.get_lr()["lr"][0]))

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        (output,) = outputs
        assert output.pred_sem_seg.data.shape == output.gt_sem_seg.data.shape
        self.seen.append(("val", batch_idx, output.img_path))

    def after_val_epoch(self, runner, metrics=None):
        runner.visualizer.add_scalar("mine/mIoU", metrics["mIoU"], step=runner.iter)


def test_a_users_own_hook_sees_the_run(config, tmp_path):
    train(hooked(config, dict(type="Notes", priority="LOW")), work_dir=tmp_path, device="cpu")
    assert Notes.seen[0] == ("before_run", "mit_b0", str(tmp_path))
    assert [note[0] for note in Notes.seen if isinstance(note[0], int)] == [0, 1, 2, 3]
    assert [note[1] for note in Notes.seen if note[0] == "val"] == [0, 1, 2] * 2


def test_hooks_change_no_bit_of_a_run(config, tmp_path):
    plain = train(hooked(config), work_dir=tmp_path / "plain", device="cpu")
    with_hooks = train(
        hooked(config, dict(type="Notes"), dict(type="EmptyCacheHook")), work_dir=tmp_path / "hooks", device="cpu"
    )
    assert_same(final_state(with_hooks), final_state(plain))


@pytest.mark.parametrize(
    "hook",
    [
        dict(type="DistSamplerSeedHook"),
        dict(type="EMAHook", momentum=0.1),
        dict(type="EarlyStoppingHook", monitor="mIoU", patience=9),
        dict(type="EmptyCacheHook", after_iter=True),
        dict(type="IterTimerHook"),
        dict(type="LoggerHook", interval=1),
        dict(type="NaiveVisualizationHook"),
        dict(type="ParamSchedulerHook"),
        dict(type="ProfilerHook", by_epoch=False, profile_times=2),
        dict(type="RuntimeInfoHook"),
        dict(type="SyncBuffersHook"),
    ],
    ids=lambda hook: hook["type"],
)
def test_every_hook_of_mmengine_runs_by_name(config, tmp_path, hook):
    result = train(hooked(config, hook), work_dir=tmp_path, device="cpu")
    assert result.checkpoint.parent.name == "iter_4"
    assert result.scores is not None


def test_a_runner_has_all_that_mmengines_hooks_read(config, tmp_path):
    asked = set()
    for _, module in inspect.getmembers(mmengine.hooks, inspect.ismodule):
        code = re.sub(r'"""[\s\S]*?"""', "", inspect.getsource(module))
        asked |= set(re.findall(r"\brunner\.(\w+)", code))
    assert {"iter", "message_hub", "visualizer", "train_loop"} <= asked

    @HOOKS.register_module(force=True)
    class Probe(Hook):
        missing = None

        def after_run(self, runner):
            Probe.missing = {name for name in asked - NOT_OF_A_RUN if not hasattr(runner, name)}

    train(hooked(config, dict(type="Probe"), max_iters=1), work_dir=tmp_path, device="cpu")
    assert Probe.missing == set()


def test_early_stopping_ends_the_run_and_saves_where_it_ended(config, tmp_path):
    hook = dict(type="EarlyStoppingHook", monitor="mIoU", rule="greater", stopping_threshold=0.0)
    result = train(hooked(config, hook, val_interval=1, checkpoint_interval=4), work_dir=tmp_path, device="cpu")
    assert result.checkpoint.parent.name == "iter_1"
    assert result.stopped is None


def test_the_logger_hook_writes_what_mmengines_users_expect(config, tmp_path):
    config["visualization"] = dict(tensorboard=False, backends=[dict(type="LocalVisBackend")])
    train(hooked(config, dict(type="LoggerHook", interval=1)), work_dir=tmp_path, device="cpu")
    assert "Iter(train) [4/4]" in (tmp_path / "log.txt").read_text()
    rows = [json.loads(line) for line in (tmp_path / "LocalVisBackend" / "scalars.json").read_text().splitlines()]
    assert {"loss", "lr"} <= set().union(*rows)


def test_the_averaged_weights_of_the_ema_hook_are_validated_and_saved(config, tmp_path):
    plain = train(hooked(config), work_dir=tmp_path / "plain", device="cpu")
    result = train(
        hooked(config, dict(type="EMAHook", momentum=0.5, update_buffers=True)), work_dir=tmp_path / "ema", device="cpu"
    )
    (trained, _), (averaged, state) = final_state(plain), final_state(result)
    assert not torch.equal(trained["head.weight"], averaged["head.weight"])
    assert torch.equal(trained["head.weight"], state["hooks"]["ema_state_dict"]["module.segmentor.head.weight"])
    from densevit.train import test as score

    tested = score({**config, "custom_hooks": []}, result.checkpoint, device="cpu")
    assert tested.scores.as_dict(tested.classes) == result.scores


def test_a_crashed_run_with_the_ema_hook_resumes_to_the_last_bit(config, tmp_path):
    config = hooked(config, dict(type="EMAHook", momentum=0.5))
    straight = train(config, work_dir=tmp_path / "straight", device="cpu")
    cut = cut_at(config, 3)
    cut["custom_hooks"] = [*config["custom_hooks"], *cut["custom_hooks"]]
    with pytest.raises(SystemError):
        train(cut, work_dir=tmp_path / "crashed", device="cpu")
    resumed = train(config, work_dir=tmp_path / "crashed", resume=True, device="cpu")
    assert_same(final_state(resumed), final_state(straight))
    assert scalars(resumed.work_dir)[-1]["mIoU"] == scalars(straight.work_dir)[-1]["mIoU"]


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (
            dict(type="EarlyStopingHook"),
            "custom_hooks: mmengine has no hook named 'EarlyStopingHook'; did you mean Early",
        ),
        (dict(type="EarlyStoppingHook", monitors="x"), "custom_hooks: EarlyStoppingHook cannot be made .*'monitors'"),
        (dict(type="EMAHook", begin_iter=True), "custom_hooks: EMAHook.begin_iter must be numbers, got True"),
        (dict(type="CheckpointHook"), "custom_hooks: CheckpointHook is not needed, .*train_cfg.checkpoint_interval"),
    ],
)
def test_a_wrong_hook_is_one_sentence(config, tmp_path, capsys, hook, said):
    path = write_config(tmp_path / "small.py", hooked(config, hook))
    assert main(["train", path, "--work-dir", str(tmp_path / "run"), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error)
    assert error.count("\n") == 1


@VISBACKENDS.register_module()
class Ledger(BaseVisBackend):
    """What a user's visual back end is told; like mmengine's own it opens what it writes to on first use."""

    written: list = []

    def _init_env(self):
        self.written.append("opened")

    @property
    @force_init_env
    def experiment(self):
        return self.written

    def add_scalar(self, name, value, step=0, **kwargs):
        self.written.append((name, step, float(value)))

    def add_image(self, name, image, step=0, **kwargs):
        self.written.append((name, step, image.shape))

    def close(self):
        self.written.append("closed")


def test_a_visual_back_end_by_name_gets_scalars_and_pictures_and_is_closed(config, tmp_path):
    Ledger.written.clear()
    config["visualization"] = dict(tensorboard=False, num_images=1, backends=[dict(type="Ledger")])
    train(hooked(config), work_dir=tmp_path, device="cpu")
    losses = {row["iter"]: row["loss"] for row in scalars(tmp_path) if "loss" in row}
    assert {(step, value) for name, step, value in Ledger.written[1:-1] if name == "train/loss"} == set(losses.items())
    assert [(step, shape) for name, step, shape in Ledger.written[1:-1] if name == "val_0"] == [
        (2, (48, 3 * 64, 3)),
        (4, (48, 3 * 64, 3)),
    ]
    assert (Ledger.written[0], Ledger.written[-1]) == ("opened", "closed")


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        (
            dict(type="WandbVisBacked"),
            "mmengine has no vis_backend named 'WandbVisBacked'; did you mean Wandb",
        ),
        (dict(type="AimVisBackend"), "AimVisBackend cannot be used .*; install its package"),
        (dict(type="LocalVisBackend", imgs="x"), "LocalVisBackend cannot be used .*'imgs'"),
        (dict(save_dir="x"), "visualization.backends.0 needs a type"),
    ],
)
def test_a_wrong_visual_back_end_is_one_sentence(config, tmp_path, backend, said):
    config["visualization"] = dict(tensorboard=False, backends=[backend])
    with pytest.raises(ValueError, match=said) as caught:
        train(hooked(config), work_dir=tmp_path, device="cpu")
    assert "\n" not in str(caught.value)
