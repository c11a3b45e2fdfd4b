"""What the folder of a training run tells, and how runs compare."""

import json

import pytest

from densevit.runs.compared import ABSENT, as_json, compare_validation, differences
from densevit.runs.folder import LOCK, is_running, read_settings
from densevit.runs.run import open_runs
from densevit.train.folder import only_run_in
from tests.runs.made import BEGUN, CONFIG, FINISHED, trained, validated, write_run


@pytest.fixture
def opened(tmp_path):
    """A function that writes a run as it is told, and reads it."""

    def write_and_open(name="run", **content):
        return open_runs([write_run(tmp_path / name, **content)])[0]

    return write_and_open


def test_a_finished_run_says_what_it_was_and_what_it_scored(opened):
    facts = opened().facts()
    assert facts.pop("config").isalnum()
    assert facts == {
        "state": "finished",
        "model": "mit_b0 + all_mlp",
        "parameters": 3.72e6,
        "iterations": 40,
        "best mIoU": 55.5,
        "best mIoU at": 20,
        "last mIoU": 50.25,
        "last mIoU at": 40,
        "seed": 3,
        "training time": 20.0,
        "s/iteration": 0.5,
        "peak memory, GB": 1.5,
        "device": "cuda:0, bf16",
        "training images": 8,
        "validation images": 3,
        "resumed at": "never",
        "started from": None,
        "densevit": "0.1.0",
    }


def test_what_the_folder_does_not_say_is_none(opened):
    run = opened(rows=[], log="", weights=False)
    facts = run.facts()
    unknown = ("best mIoU", "last mIoU at", "training time", "s/iteration", "peak memory, GB", "device", "densevit")
    assert [facts[key] for key in unknown] == [None] * len(unknown)
    assert run.remarks == ("it holds no weights",)


FAILURE = "10:00:09 ERROR   the run failed: ValueError: the loss became nan\n"
STOP = "10:00:09 WARNING stopped at iteration 20 of 40; continue with --resume\n"


@pytest.mark.parametrize(
    ("rows", "log", "state"),
    [
        (FINISHED[:2], BEGUN, "ended at 20 of 40, and its log does not say why"),
        (FINISHED[:2], BEGUN + FAILURE, "failed at 20 of 40: ValueError: the loss became nan"),
        (FINISHED[:2], BEGUN + STOP, "stopped by a signal at 20 of 40"),
        (FINISHED, BEGUN + STOP + FAILURE + BEGUN, "finished"),
        (FINISHED[:-1], BEGUN, "finished, but its last weights were not validated"),
        ([], "", "ended at 0 of 40, and its log does not say why"),
    ],
)
def test_an_unfinished_run_is_named_as_such(opened, rows, log, state):
    assert opened(rows=rows, log=log).state == state


def test_a_run_that_goes_on_is_named_as_such(tmp_path):
    folder = write_run(tmp_path / "run")
    with only_run_in(folder):
        assert is_running(folder)
        assert open_runs([folder])[0].state == "still running, 40 of 40"
    (folder / LOCK).write_text("left by a crash")
    assert not is_running(folder)


def test_a_log_that_a_kill_cut_is_read_up_to_there(tmp_path, caplog):
    folder = write_run(tmp_path / "run", log=BEGUN + "10:00:09 WARNING stop")
    with open(folder / "scalars.jsonl", "a") as file:
        file.write('{"iter": 50, "loss": 0.1, "classes": {"a": {"IoU": ')
    (run,) = open_runs([folder])
    assert run.iterations == 40
    assert run.begun["device"] == "cuda:0"
    assert "left out a line that is damaged" in caplog.text


@pytest.mark.parametrize(
    "line", ['{"iter": 1e400}', '{"iter": -5}', f'{{"iter": 5, "loss": {10**400}}}', "[5]", "\udcff"]
)
def test_what_no_run_writes_is_left_out(tmp_path, line):
    folder = write_run(
        tmp_path / "run", log=BEGUN.replace("3.72", "3.7.2") + BEGUN.replace("8 train", f"{10**30} train")
    )
    with open(folder / "scalars.jsonl", "a", errors="surrogateescape") as file:
        file.write(f"{line}\n")
    (run,) = open_runs([folder])
    assert list(run.rows) == json.loads(json.dumps(FINISHED))
    assert run.begun == {}


def test_what_a_resumed_run_wrote_anew_counts(opened):
    rows = [*trained([10, 20, 30]), validated(30, 90.0), *trained([20, 30, 40]), validated(40, 50.0)]
    log = BEGUN + "10:01:00 INFO    resuming from run/checkpoints/iter_10\n" + BEGUN
    run = opened(rows=rows, log=log)
    assert [row["iter"] for row in run.rows] == [10, 20, 30, 40, 40]
    assert run.best.value == 50.0
    assert run.resumed == [10]


def test_a_folder_that_is_no_run_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="holds no run; give a folder that densevit train wrote"):
        open_runs([tmp_path])
    with pytest.raises(ValueError, match="absent does not exist"):
        open_runs([tmp_path / "absent"])
    run = write_run(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"runs lie in it; give them by themselves.*mine"):
        open_runs([tmp_path])
    with pytest.raises(ValueError, match="was given twice"):
        open_runs([run, tmp_path / "." / "mine"])


def test_a_config_is_read_and_not_run(tmp_path):
    folder = write_run(tmp_path / "run")
    mark = tmp_path / "ran"
    (folder / "config.py").write_text(f"import pathlib\nseed = 4\nname = pathlib.Path({str(mark)!r}).touch()\n")
    assert read_settings(folder) == dict(seed=4, name=f"pathlib.Path({str(mark)!r}).touch()")
    assert not mark.exists()
    (folder / "config.py").write_text("seed = (")
    with pytest.raises(ValueError, match=r"config\.py is no Python file"):
        open_runs([folder])


def test_only_keys_that_differ_are_listed_by_dotted_names(tmp_path):
    optimizer = dict(CONFIG["optimizer"], lr=1e-4, momentum=0.9)
    runs = open_runs([write_run(tmp_path / "a"), write_run(tmp_path / "b", optimizer=optimizer, seed=4)])
    assert differences(runs) == {
        "optimizer.lr": [1e-3, 1e-4],
        "optimizer.momentum": [ABSENT, 0.9],
        "seed": [3, 4],
    }


OTHER_SPLIT = dict(val_data=dict(dataset=dict(type="folder", root="data", split="test")))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (OTHER_SPLIT, "val_data.dataset.split is 'val' in a and 'test' in b"),
        (dict(inference=dict(mode="slide")), "inference.mode is 'whole' in a and 'slide' in b"),
        (dict(log=BEGUN.replace("3 for", "9 for")), "number of validation images is '3' in a and '9' in b"),
        (dict(rows=[validated(40, 1.0, ("ground", "tree"))]), "classes is ['ground', 'box'] in a and"),
    ],
)
def test_that_scores_do_not_compare_is_said(tmp_path, other, said):
    found = compare_validation(open_runs([write_run(tmp_path / "a"), write_run(tmp_path / "b", **other)]))
    assert found.same is False
    assert "do not compare" in found.said
    assert any(reason.startswith(said) for reason in found.reasons)


def test_that_scores_compare_is_said_and_who_has_none(tmp_path):
    faster = dict(val_data=dict(dataset=dict(CONFIG["val_data"]["dataset"], check="load"), num_workers=0))
    folders = [write_run(tmp_path / "a"), write_run(tmp_path / "b", **faster), write_run(tmp_path / "c", rows=[])]
    found = compare_validation(open_runs(folders))
    assert found.same is True
    assert "3 images, 2 classes" in found.said
    assert found.said.endswith("left out: c.")
    assert compare_validation(open_runs(folders[:1])).same is None


def test_runs_of_one_name_are_told_apart_by_the_folders_above(tmp_path):
    runs = open_runs([write_run(tmp_path / "a" / "run"), write_run(tmp_path / "b" / "run")])
    assert [run.name for run in runs] == ["a/run", "b/run"]


def test_runs_as_json_hold_all_that_is_known(tmp_path):
    content = json.loads(json.dumps(as_json(open_runs([write_run(tmp_path / "a")])), allow_nan=False))
    assert (content["schema"], content["version"]) == ("densevit.runs", 1)
    assert content["runs"][0]["scalars"] == json.loads(json.dumps(FINISHED))
    assert content["runs"][0]["config"]["optimizer.betas"] == [0.9, 0.999]
