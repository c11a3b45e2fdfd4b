"""What predict, train and test do from the command line."""

import hashlib
import json

import numpy as np
import pytest
import torch

from densevit.cli import main
from densevit.cli.main import build_parser
from densevit.data.layouts import cityscapes
from densevit.inference import InferenceOptions
from densevit.metrics import ConfusionMatrix
from densevit.predictor import Predictor
from densevit.predictor.pictures import find_pictures
from densevit.weights import read_weights, save_weights
from tests.checkpoints import save_tiny_checkpoint
from tests.cli.conftest import CLASSES
from tests.predictor.common import read


def test_predict_writes_what_the_predictor_says(checkpoint, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", str(checkpoint), str(photos), "-o", str(out), "--format", "train_ids", "overlay"]) == 0
    assert sorted(path.name for path in (out / "overlay").iterdir()) == ["photo_0.png", "photo_1.png"]
    for path in photos.iterdir():
        assert np.array_equal(read(out / "train_ids" / path.name), Predictor(checkpoint)(path).label)
    assert capsys.readouterr().out == f"2 predicted, results in {out}\n"


def test_one_bad_picture_is_reported_skipped_and_counted(checkpoint, photos, tmp_path, capsys):
    bad = photos / "photo_0.png"
    bad.write_bytes(bad.read_bytes()[:-40])
    assert main(["predict", str(checkpoint), str(photos), "-o", str(tmp_path / "out"), "--quiet"]) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo_1.png"]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith("densevit: skipped: ")
    assert str(bad) in told[0]
    assert told[1] == "densevit: 1 of 2 pictures failed, see above"


def test_flags_of_predict_reach_the_predictor(checkpoint, photos, tmp_path, monkeypatch):
    made = []

    class Spy(Predictor):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr("densevit.predictor.Predictor", Spy)
    flags = "--mode slide --roi-size 32 --stride 16 24 --batch-size 2 --flip --scales 0.5 1 --amp"
    assert main(["predict", str(checkpoint), str(photos), "-o", str(tmp_path / "out"), *flags.split()]) == 0
    (predictor,) = made
    assert predictor.amp == "bf16"
    assert predictor.inference == InferenceOptions(
        mode="slide", roi_size=(32, 32), stride=(16, 24), batch_size=2, flips=(-1,), scales=(0.5, 1.0), sides=()
    )


def test_processes_that_a_launcher_started_divide_the_pictures(checkpoint, photos, tmp_path, monkeypatch, capsys):
    command = ["predict", str(checkpoint), str(photos), "-o", str(tmp_path / "out"), "--launcher", "pytorch"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert main(command) == 0
        assert "1 predicted" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_bound_on_memory_says_what_is_planned(checkpoint, photos, tmp_path, capsys):
    command = ["predict", str(checkpoint), str(photos), "-o", str(tmp_path / "out"), "--mode", "slide"]
    command += ["--roi-size", "32", "--stride", "16", "--max-memory"]
    assert main([*command, "2GB"]) == 0
    assert "windows of 32 x 32 on" in capsys.readouterr().err
    assert main([*command, "much"]) == 2
    assert "expected an amount of memory such as 4GB" in capsys.readouterr().err


def test_resume_skips_what_is_done(checkpoint, photos, tmp_path, capsys):
    command = ["predict", str(checkpoint), str(photos), "-o", str(tmp_path / "out"), "--resume"]
    main(command)
    assert main(command) == 0
    assert "0 predicted, 2 done before" in capsys.readouterr().out


def test_flags_of_train_are_those_of_openmmlab():
    flags = "--work-dir runs/a --resume --amp fp16 --cfg-options a.b=1 c=x --launcher pytorch --local_rank 3"
    args = build_parser().parse_args(["train", "config.py", *flags.split()])
    assert (args.config, args.work_dir, args.resume, args.amp) == ("config.py", "runs/a", True, "fp16")
    assert (args.cfg_options, args.launcher, args.device) == (["a.b=1", "c=x"], "pytorch", None)


def test_test_prints_and_writes_the_scores_of_its_own_predictions(checkpoint, config, tmp_path, capsys):
    out, work_dir = tmp_path / "out", tmp_path / "work"
    state, header = read_weights(checkpoint)
    begun = [dict(name="nvidia/mit-b0", licence="NVIDIA NSCL, non-commercial")]
    save_weights(state, checkpoint, config=header | dict(started_from=begun))
    command = ["test", str(config), str(checkpoint), "--device", "cpu", "--out", str(out), "--work-dir", str(work_dir)]
    assert main([*command, "--show-dir", str(tmp_path / "shown"), "--json", str(tmp_path / "scores.json")]) == 0
    matrix = ConfusionMatrix(3)
    for i in range(2):
        stored = read(out / f"{i}.png")
        assert np.array_equal(stored, Predictor(checkpoint)(config.parent / "data" / "images" / f"{i}.png").label)
        assert read(tmp_path / "shown" / f"{i}.png").shape == (40, 56, 3)
        truth = read(config.parent / "data" / "labels" / f"{i}.png")
        matrix.update(torch.from_numpy(stored).long(), torch.from_numpy(truth).long())
    expected = matrix.compute()
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["mIoU"] == pytest.approx(100 * expected.mIoU)
    assert scores["num_images"] == 2
    assert scores["started_from"] == begun
    assert scores["checkpoint_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert json.loads((work_dir / "test_scores.json").read_text()) == scores
    out = capsys.readouterr().out
    assert f"mIoU {100 * expected.mIoU:.2f}" in out
    assert "mean over cases and its 95 % interval, policy honest" in out
    assert "over all pixels of the set, in percent" in out


def test_test_gives_and_prints_the_scores_that_evaluate_gives_of_its_predictions(checkpoint, config, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["test", str(config), str(checkpoint), "--device", "cpu", "--out", str(out), "--json", f"{out}.json"]
    assert main([*command, "--metrics", "assd", "--csv", f"{out}.csv"]) == 0
    printed = capsys.readouterr().out
    labels = str(config.parent / "data" / "labels")
    files = ["--json", f"{out}_files.json", "--csv", f"{out}_files.csv", "--workers", "0"]
    assert main(["evaluate", str(out), labels, "--metrics", "assd", *files]) == 0
    assert capsys.readouterr().out.strip() in printed
    tested, evaluated = (json.loads((tmp_path / f"out{end}.json").read_text()) for end in ("", "_files"))
    for key in ("means", "cases", "aAcc", "structures"):
        assert tested["evaluation"][key] == evaluated[key]
    assert (tmp_path / "out.csv").read_text() == (tmp_path / "out_files.csv").read_text()
    means = {
        row["metric"]: row["mean"] for row in evaluated["means"] if (row["level"], row["structure"]) == ("set", None)
    }
    for column, metric in (("mIoU", "iou"), ("mAcc", "recall"), ("mDice", "dice"), ("mPrecision", "precision")):
        assert 100 * means[metric] == pytest.approx(tested[column])
    assert 100 * evaluated["aAcc"] == pytest.approx(tested["aAcc"])


def test_requirements_of_test_are_those_of_evaluate(checkpoint, config, tmp_path, capsys):
    command = ["test", str(config), str(checkpoint), "--device", "cpu", "--json", f"{tmp_path}/scores.json"]
    assert main([*command, "--require", "mIoU>=99", "dice>=0"]) == 1
    out = capsys.readouterr().out
    assert "required mIoU>=99, got" in out
    assert "required dice" not in out
    assert (tmp_path / "scores.json").is_file()


def test_flags_of_test_override_the_inference_of_the_config(checkpoint, config, tmp_path):
    flags = "--device cpu --mode slide --roi-size 32 --stride 24 --tta --cfg-options inference.batch_size=3"
    assert main(["test", str(config), str(checkpoint), *flags.split(), "--json", str(tmp_path / "scores.json")]) == 0
    inference = json.loads((tmp_path / "scores.json").read_text())["inference"]
    assert inference["mode"] == "slide"
    assert (inference["roi_size"], inference["stride"], inference["batch_size"]) == ([32, 32], [24, 24], 3)
    assert inference["flips"] == [-1]
    assert inference["scales"] == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


def test_what_train_leaves_is_all_that_predict_needs(config, photos, tmp_path):
    work_dir, out = tmp_path / "work", tmp_path / "out"
    assert main(["train", str(config), "--work-dir", str(work_dir), "--device", "cpu"]) == 0
    checkpoint = work_dir / "checkpoints" / "iter_2"
    assert main(["predict", str(checkpoint), str(photos), "-o", str(out), "--format", "palette", "overlay"]) == 0
    assert len(list((out / "palette").iterdir())) == 2
    assert Predictor(checkpoint).classes == CLASSES


@pytest.mark.real
def test_genuine_frames_become_label_ids_for_the_cityscapes_server(shared_data, tmp_path):
    frame = next((shared_data / "cityscapes_mini" / "leftImg8bit" / "val").glob("*/*.png"))
    inference = dict(mode="slide", roi_size=[512, 1024], stride=[512, 1024])
    path = save_tiny_checkpoint(tmp_path / "weights.safetensors", inference=inference)
    assert main(["predict", str(path), str(frame), "-o", str(tmp_path / "out"), "--format", "label_ids"]) == 0
    stored = read(tmp_path / "out" / frame.name)
    assert stored.shape == (1024, 2048)
    assert set(np.unique(stored)) <= set(cityscapes.TRAIN_ID_TO_LABEL_ID.values())


@pytest.mark.real
def test_every_awkward_file_is_predicted_or_reported_in_one_line(checkpoint, shared_data, tmp_path, capsys):
    folder = shared_data / "awkward_2d" / "pillow"
    assert main(["predict", str(checkpoint), str(folder), "-o", str(tmp_path / "out"), "--quiet"]) == 1
    told = capsys.readouterr().err.splitlines()
    pictures = find_pictures(folder)
    assert len(told) - 1 + len(list((tmp_path / "out").iterdir())) == len(pictures)
    for picture in pictures:
        reported = any(str(picture.path) in line for line in told)
        assert reported != (tmp_path / "out" / f"{picture.name}.png").exists()


def test_formats_may_be_repeated_and_listed(checkpoint, photos, tmp_path):
    flags = "--format train_ids --format palette overlay --format train_ids --quiet"
    assert main(["predict", str(checkpoint), str(photos), "-o", str(tmp_path / "out"), *flags.split()]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["overlay", "palette", "train_ids"]
