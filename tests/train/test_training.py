import json
import logging
import os
import re
import resource
import signal
import socket
import subprocess

import numpy as np
import pytest
import torch

from densevit.checkpoint.snapshots import Snapshot, list_snapshots
from densevit.cli.main import main
from densevit.runs.run import open_runs
from densevit.train import test as score
from densevit.train import train
from densevit.train.config import check_config
from densevit.train.score import show_predictions
from densevit.weights import read_weights
from tests.conftest import REPOSITORY
from tests.train.conftest import CLASSES, small_config, write_scene
from tests.train.hooks import Compiled, cut_at


def scalars(folder):
    return [json.loads(line) for line in (folder / "scalars.jsonl").read_text().splitlines()]


def final_state(result):
    weights, _ = read_weights(result.checkpoint)
    return weights, Snapshot(result.checkpoint.parent).read_state()


def assert_same(one, other):
    """Equal to the last bit, through dictionaries, lists and tensors."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


@pytest.fixture(scope="module")
def finished(scenes, tmp_path_factory):
    """One whole run, which several tests look at."""
    folder = tmp_path_factory.mktemp("finished")
    return train(small_config(scenes), work_dir=folder, device="cpu")


def test_a_run_leaves_config_log_scalars_curves_and_checkpoints(finished):
    names = {path.name for path in finished.work_dir.iterdir()}
    assert names == {"config.py", "log.txt", "scalars.jsonl", "curves.png", "checkpoints", "last_checkpoint", "best"}
    assert [c.folder.name for c in list_snapshots(finished.work_dir)] == ["iter_6", "iter_3"]
    assert (finished.work_dir / "last_checkpoint").read_text().startswith("iter_6\n")


def test_scalars_hold_loss_and_rate_of_each_iteration_and_the_scores(finished):
    rows = scalars(finished.work_dir)
    trained = [row for row in rows if "loss" in row]
    assert [row["iter"] for row in trained] == [1, 2, 3, 4, 5, 6]
    assert all(row["loss"] > 0 and row["ignored_batches"] == 0 for row in trained)
    assert trained[1]["lr"] == 1e-3
    assert rows[-1]["iter"] == 6
    assert rows[-1]["mIoU"] == finished.scores["mIoU"]
    assert list(finished.scores["classes"]) == CLASSES


def test_a_report_reads_what_a_run_wrote(finished):
    (run,) = open_runs([finished.work_dir])
    facts = run.facts()
    parameters = sum(tensor.numel() for tensor in read_weights(finished.best)[0].values())
    assert facts["parameters"] == pytest.approx(parameters, abs=1e4)
    assert facts["best mIoU"] == finished.scores["mIoU"]
    assert run.best.classes == finished.scores["classes"]
    assert (facts["state"], facts["device"]) == ("finished", "cpu, fp32")
    assert (facts["training images"], facts["validation images"]) == (8, 3)
    assert run.settings["model"]["decoder_options"] == dict(dim=32)


def test_a_report_shows_images_as_the_best_weights_predict_them(finished, config):
    found = show_predictions(check_config(config), finished.work_dir, count=2, device="cpu", progress=False)
    assert list(found) == ["00.png", "02.png"]
    assert {part.shape for triple in found.values() for part in triple} == {(48, 64, 3)}


def test_the_log_holds_the_table_of_scores(finished):
    log = (finished.work_dir / "log.txt").read_text()
    assert "iter 6/6" in log
    assert "per class results" in log


def test_weights_say_how_to_build_and_use_the_model(finished):
    _, header = read_weights(finished.best)
    assert header["model"]["backbone"] == "mit_b0"
    assert header["classes"] == CLASSES
    assert header["inference"]["mode"] == "whole"
    assert header["training"]["iteration"] == 6
    assert header["training"]["scores"]["mIoU"] == finished.scores["mIoU"]


def test_testing_the_last_weights_gives_the_scores_of_the_last_validation(finished, config):
    seen = []
    result = score(config, finished.checkpoint, device="cpu", on_prediction=lambda sample, label: seen.append(label))
    assert result.scores.as_dict(result.classes) == finished.scores
    assert (result.num_images, len(seen)) == (3, 3)


def test_the_same_seed_trains_the_same_weights(finished, config, tmp_path):
    assert_same(final_state(train(config, work_dir=tmp_path, device="cpu")), final_state(finished))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_crashed_run_resumes_to_the_last_bit(finished, config, tmp_path, workers):
    config["train_data"]["num_workers"] = workers
    with pytest.raises(SystemError):
        train(cut_at(config, 4), work_dir=tmp_path, device="cpu")
    assert scalars(tmp_path)[-1]["iter"] == 4
    resumed = train(config, work_dir=tmp_path, resume=True, device="cpu")
    assert_same(final_state(resumed), final_state(finished))
    assert [row["iter"] for row in scalars(tmp_path)] == [1, 2, 3, 4, 5, 6, 6]


def test_resuming_with_average_accumulation_and_bf16_is_exact_too(config, tmp_path):
    config["train_cfg"].update(ema=0.9, accumulate=2, amp="bf16", clip_grad=1.0, checkpointing=True)
    config["train_cfg"].update(max_iters=4, checkpoint_interval=2)
    straight = train(config, work_dir=tmp_path / "straight", device="cpu")
    with pytest.raises(SystemError):
        train(cut_at(config, 3), work_dir=tmp_path / "crashed", device="cpu")
    resumed = train(config, work_dir=tmp_path / "crashed", resume=True, device="cpu")
    assert_same(final_state(resumed), final_state(straight))
    assert scalars(resumed.work_dir)[-2]["grad_norm"] > 0


def test_saved_weights_are_the_averaged_ones(config, tmp_path):
    config["train_cfg"].update(ema=0.9, max_iters=2)
    result = train(config, work_dir=tmp_path, device="cpu")
    weights, state = final_state(result)
    assert state["average_updates"] == 2
    assert not torch.equal(weights["head.weight"], state["raw_weights"]["head.weight"])


def test_an_iteration_takes_as_many_batches_as_are_accumulated(config, tmp_path):
    config["train_cfg"].update(max_iters=3, accumulate=2)
    config["val_data"] = None
    result = train(config, work_dir=tmp_path, device="cpu")
    assert result.scores is None
    assert final_state(result)[1]["draws"] == 3 * 2 * 2


def test_resume_with_nothing_to_resume_starts_and_says_so(config, tmp_path, caplog):
    config["train_cfg"]["max_iters"] = 1
    with caplog.at_level(logging.WARNING):
        result = train(config, work_dir=tmp_path, resume=True, device="cpu")
    assert "nothing to resume" in caplog.text
    assert result.checkpoint.is_file()


def test_resuming_a_finished_run_changes_nothing(config, tmp_path):
    config["train_cfg"]["max_iters"] = 2
    before = final_state(train(config, work_dir=tmp_path, device="cpu"))
    after = train(config, work_dir=tmp_path, resume=True, device="cpu")
    assert_same(final_state(after), before)


def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(finished, config, tmp_path, caplog):
    result = train(config, work_dir=tmp_path, device="cpu")
    result.checkpoint.write_bytes(result.checkpoint.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        resumed = train(config, work_dir=tmp_path, resume=True, device="cpu")
    assert "iter_6 is damaged" in caplog.text
    assert "iter_3" in caplog.text
    assert_same(final_state(resumed), final_state(finished))


def test_resuming_with_only_damaged_checkpoints_is_an_error_that_names_them(config, tmp_path):
    config["train_cfg"].update(max_iters=1)
    result = train(config, work_dir=tmp_path, device="cpu")
    (result.checkpoint.parent / "state.pt").unlink()
    with pytest.raises(OSError, match="iter_1 is damaged"):
        train(config, work_dir=tmp_path, resume=True, device="cpu")


def test_resuming_with_another_model_is_one_sentence(config, tmp_path):
    config["train_cfg"].update(max_iters=1)
    train(config, work_dir=tmp_path, device="cpu")
    config["model"]["backbone"] = "mit_b1"
    with pytest.raises(ValueError, match="backbone is mit_b0 there and mit_b1 here"):
        train(config, work_dir=tmp_path, resume=True, device="cpu")


def test_a_validation_missed_by_a_crash_is_made_up_for(config, tmp_path):
    config["train_cfg"].update(val_interval=3)
    with pytest.raises(SystemError):
        train({**config, "custom_hooks": [dict(type="PowerCut", validation=True)]}, work_dir=tmp_path, device="cpu")
    train(config, work_dir=tmp_path, resume=True, device="cpu")
    assert [row["iter"] for row in scalars(tmp_path) if "mIoU" in row] == [3, 6]


def test_an_earlier_run_in_the_folder_is_moved_not_overwritten(config, tmp_path):
    config["train_cfg"].update(max_iters=1)
    train(config, work_dir=tmp_path, device="cpu")
    before = (tmp_path / "scalars.jsonl").read_text()
    train(config, work_dir=tmp_path, device="cpu")
    (earlier,) = tmp_path.glob("earlier_*")
    assert (earlier / "scalars.jsonl").read_text() == before
    assert (earlier / "checkpoints" / "iter_1").is_dir()


def test_a_loss_that_is_not_a_number_stops_with_one_sentence_and_saves_nothing_of_it(config, tmp_path):
    config["optimizer"].update(type="SGD", lr=1e30)
    config["schedule"] = dict(type="constant")
    config["train_cfg"].update(checkpoint_interval=1)
    with pytest.raises(ValueError, match=r"the loss became .* at iteration") as caught:
        train(config, work_dir=tmp_path, device="cpu")
    assert "\n" not in str(caught.value)
    assert re.fullmatch(r"failed at \d of 6: ValueError: the loss became .*", open_runs([tmp_path])[0].state)
    rows = scalars(tmp_path)
    assert all(np.isfinite(row["loss"]) for row in rows)
    assert len(list_snapshots(tmp_path)) <= len(rows)


def test_all_ignored_batches_are_counted_and_warned_about(tmp_path, config, scenes, caplog):
    rng = np.random.default_rng(0)
    for i in range(2):
        write_scene(tmp_path / "data", "train", f"{i}", rng=rng, ignored=i == 0)
    (tmp_path / "data" / "classes.json").write_text((scenes / "classes.json").read_text())
    config["train_data"]["dataset"]["root"] = str(tmp_path / "data")
    config["train_data"]["batch_size"] = 1
    config["train_cfg"].update(max_iters=2)
    with caplog.at_level(logging.WARNING):
        result = train(config, work_dir=tmp_path / "run", device="cpu")
    rows = [row for row in scalars(tmp_path / "run") if "loss" in row]
    assert rows[-1]["ignored_batches"] == 1
    assert sorted(row["loss"] == 0 for row in rows) == [False, True]
    assert "every pixel of the batch is ignored" in caplog.text
    assert all(torch.isfinite(value).all() for value in final_state(result)[0].values())


def test_a_compiled_model_saves_the_plain_names(config, tmp_path):
    config["train_cfg"].update(max_iters=1, compile=True)
    config["custom_hooks"] = [dict(type="Compiled")]
    # The compiler itself is torch's affair and takes a minute; what is ours is where it is asked for.
    with torch.compiler.set_stance("force_eager"):
        weights, _ = final_state(train(config, work_dir=tmp_path, device="cpu"))
    assert Compiled.found == ["segmentor.backbone", "segmentor.decoder"]
    assert "backbone.stages.0.norm.weight" in weights


def test_tensorboard_gets_scalars_and_pictures(config, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config["visualization"] = dict(tensorboard=True, num_images=1)
    config["train_cfg"].update(max_iters=1)
    train(config, work_dir=tmp_path, device="cpu")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"train/loss", "train/lr", "val/mIoU"} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["val_0"]


@pytest.mark.parametrize(
    ("section", "key", "value", "sentence"),
    [
        ("train_data", "root", "/nowhere/at/all", "/nowhere/at/all"),
        ("val_data", "split", "none", "none"),
    ],
)
def test_missing_data_is_one_sentence_and_leaves_no_folder(config, tmp_path, section, key, value, sentence):
    config[section]["dataset"][key] = value
    with pytest.raises((ValueError, OSError), match=sentence):
        train(config, work_dir=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_wrong_number_of_classes_is_one_sentence(config, tmp_path):
    config["model"]["num_classes"] = 5
    with pytest.raises(ValueError, match=r"model.num_classes is 5 but train_data has 3 classes"):
        train(config, work_dir=tmp_path, device="cpu")


def test_a_work_dir_that_cannot_be_written_is_one_sentence(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write to the work dir .*choose another with --work-dir"):
        train(config, work_dir=tmp_path / "file" / "run", device="cpu")


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 2), (signal.SIGINT, 2), (signal.SIGTERM, 0)])
def test_a_signal_saves_and_stops_and_the_run_can_go_on(finished, config, tmp_path, number, workers):
    """Schedulers and terminals send it to every process, so the workers of the loader get it too."""
    config["train_data"]["num_workers"] = workers
    handler, hook = signal.getsignal(number), dict(type="Scheduler", iteration=4, number=int(number))
    stopped = train({**config, "custom_hooks": [hook]}, work_dir=tmp_path, device="cpu")
    assert stopped.stopped == number
    assert open_runs([tmp_path])[0].state == "stopped by a signal at 5 of 6"
    assert stopped.checkpoint.parent.name == "iter_5"
    assert signal.getsignal(number) == handler
    resumed = train(config, work_dir=tmp_path, resume=True, device="cpu")
    assert resumed.stopped is None
    (run,) = open_runs([tmp_path])
    assert (run.state, run.resumed, len(run.trained)) == ("finished", [5], 6)
    assert_same(final_state(resumed), final_state(finished))


def test_a_disk_that_fills_up_ends_the_run_with_the_last_checkpoint_whole(finished, config, tmp_path):
    before, hook = resource.getrlimit(resource.RLIMIT_FSIZE), dict(type="FullDisk", iteration=5)
    try:
        with pytest.raises(OSError, match=r"could not save checkpoint iter_6 .*iter_3 is whole"):
            train({**config, "custom_hooks": [hook]}, work_dir=tmp_path, device="cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    resumed = train(config, work_dir=tmp_path, resume=True, device="cpu")
    assert_same(final_state(resumed), final_state(finished))


def test_a_terminal_gets_a_bar_with_time_left_and_the_file_the_lines(config, tmp_path, monkeypatch, capsys):
    config["train_cfg"].update(max_iters=2)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    train(config, work_dir=tmp_path, device="cpu")
    shown = capsys.readouterr().out
    assert "eta" in shown
    assert "it/s" in shown
    assert "INFO    iter 2/2" not in shown
    assert "iter 2/2" in (tmp_path / "log.txt").read_text()


def write_config(path, config):
    path.write_text("\n".join(f"{key} = {value!r}" for key, value in config.items()) + "\n")
    return str(path)


def test_the_command_trains_with_options(config, tmp_path):
    path = write_config(tmp_path / "small.py", config)
    options = ["--amp", "--device", "cpu", "--cfg-options", "train_cfg.max_iters=1", "seed=3"]
    assert main(["train", path, "--work-dir", str(tmp_path / "run"), *options]) == 0
    dumped = (tmp_path / "run" / "config.py").read_text()
    assert "'max_iters': 1" in dumped
    assert "'amp': 'bf16'" in dumped
    assert "seed = 3" in dumped


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--cfg-options", "train_cfg.max_iter=1"], "unknown key 'train_cfg.max_iter'; did you mean max_iters"),
        (["--cfg-options", "train_data.dataset.root=/nowhere"], "/nowhere"),
        (["--work-dir", "/proc/run"], "cannot write to the work dir /proc/run"),
        (["--device", "cuda:77"], "cuda:77"),
        (["--device", "gpu"], "no device named 'gpu'"),
        (["--launcher", "slurm"], "--launcher slurm expects the variable SLURM_PROCID"),
        (["--cfg-options", "load_from=/nowhere.safetensors"], "/nowhere.safetensors"),
    ],
)
def test_a_users_mistake_is_one_sentence_on_stderr_and_exit_code_2(
    config, tmp_path, monkeypatch, capsys, options, sentence
):
    monkeypatch.chdir(tmp_path)
    path = write_config(tmp_path / "small.py", config)
    assert main(["train", path, *options]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_two_processes_on_the_cpu_train_resume_and_end_well(config, tmp_path):
    """Gloo, no GPU, batch norm that cannot be synchronised: all that breaks mmengine's own launch."""
    path = write_config(tmp_path / "small.py", config)

    def launch(folder, *options):
        environment = {**os.environ, "PORT": str(free_port()), "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        command = ["bash", REPOSITORY / "tools" / "dist_train.sh", path, "2", "--device", "cpu", "--work-dir", folder]
        subprocess.run([*map(str, command), *options], check=True, env=environment, capture_output=True, timeout=120)
        last = list_snapshots(folder)[0]
        return read_weights(last.weights)[0], last.read_state()

    straight = launch(tmp_path / "straight")
    launch(tmp_path / "halves", "--cfg-options", "train_cfg.max_iters=3")
    # The schedule depends on max_iters: this run differs, so only what does not is compared.
    _, state = launch(tmp_path / "halves", "--resume")
    assert state["draws"] == straight[1]["draws"] == 6 * 2 * 2
    assert len(state["random"]) == 2
    assert not torch.equal(state["random"][0]["torch"], state["random"][1]["torch"])


@pytest.mark.real
@pytest.mark.slow
def test_segformer_b2_trains_validates_by_slide_and_resumes_on_cityscapes_frames(shared_data, tmp_path):
    root = shared_data / "cityscapes_mini"
    options = [
        "train_cfg.max_iters=4",
        "train_cfg.val_interval=4",
        "train_cfg.checkpoint_interval=2",
        "train_cfg.log_interval=1",
        "train_data.augment.crop_size=(128,128)",
        "train_data.num_workers=0",
        "inference.base_size=(256,512)",
        "inference.roi_size=(256,256)",
        "inference.stride=(256,256)",
        "val_data.num_workers=0",
        *(f"{section}.dataset.root={root}" for section in ("train_data", "val_data", "test_data")),
    ]
    config = str(REPOSITORY / "configs" / "segformer_b2_cityscapes.py")
    command = ["train", config, "--work-dir", str(tmp_path), "--device", "cpu", "--cfg-options", *options]
    assert main(command) == 0
    assert main([*command, "train_cfg.max_iters=5", "--resume"]) == 0
    rows = scalars(tmp_path)
    assert [row["iter"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5]
    assert [row["iter"] for row in rows if "mIoU" in row] == [4, 5]
