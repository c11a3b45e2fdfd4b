"""The benchmark compares equal models and says so: nothing is measured here, only what a measurement consists of."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.conftest import REPOSITORY
from tests.predictor.scans import save_checkpoint

pytestmark = [pytest.mark.parity, pytest.mark.slow]


def run_benchmark(tmp_path, *arguments):
    result = tmp_path / "result.json"
    command = [sys.executable, str(REPOSITORY / "tools" / "benchmark.py"), *arguments, "--json", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())["result"], done.stdout


@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
def test_models_with_the_same_weights_give_the_same_logits_with_less_arithmetic(tmp_path):
    rows, printed = run_benchmark(
        tmp_path, "model", "--variants", "b0", "--sizes", "128", "--rounds", "1", "--peers", "transformers"
    )
    (row,) = rows
    assert row["max error"] < 1e-5
    assert row["ours params"] == row["peer params"] == 3_719_027
    assert row["ours GMACs"] < 0.5 * row["peer GMACs"]
    assert "ratio" in printed


def test_every_system_stitches_the_same_windows_to_the_same_logits(tmp_path):
    arguments = ("--size", "64", "112", "--roi-size", "64", "--stride", "48", "--models", "free", "--rounds", "1")
    rows, _ = run_benchmark(tmp_path, "windows", *arguments)
    assert {row["system"] for row in rows} >= {"densevit", "densevit labels"}
    assert all(row["max difference"] < 1e-5 for row in rows if row["system"] != "densevit labels")
    assert {row["windows"] for row in rows} == {2}


def test_a_volume_is_measured_beside_its_plan(tmp_path):
    arguments = ("--size", "16", "16", "40", "--roi-size", "16", "--classes", "3", "--systems", "densevit")
    (row,), _ = run_benchmark(tmp_path, "volume", *arguments)
    assert row["error"] is None
    assert 0 < row["network share"] <= 1
    assert row["planned MB"] > 0


def test_every_way_back_to_the_native_grid_gives_the_same_labels(tmp_path):
    sizes = ("--size", "24", "20", "18", "--native-size", "50", "50", "40", "--classes", "5", "--planes", "7")
    systems = ("densevit, same extent", "densevit, same origin", "monai, float32")
    arguments = ("--logits", "noise", "--rounds", "1", "--systems", *systems)
    rows, printed = run_benchmark(tmp_path, "native", *sizes, *arguments)
    assert {row["grid"] for row in rows if row["system"].startswith("densevit")} == {"same extent", "same origin"}
    assert all(row["same labels"] > 0.99 for row in rows)
    assert "time / ours" in printed


@pytest.mark.skipif(find_spec("monai") is None, reason="monai is not installed")
def test_every_step_of_augmentation_is_measured_beside_monai(tmp_path):
    sizes = ("--size", "24", "30", "28", "--crop-size", "8", "10", "12", "--classes", "3", "--crops", "1")
    rows, printed = run_benchmark(tmp_path, "augment", *sizes, "--rounds", "1")
    steps = {step: {row["system"] for row in rows if row["step"] == step} for step in {row["step"] for row in rows}}
    assert len(steps) == 4
    assert all({"densevit", "monai"} <= systems for systems in steps.values())
    assert "time / ours" in printed


@pytest.mark.skipif(find_spec("monai") is None, reason="monai is not installed")
def test_a_scan_that_fits_into_one_window_gets_the_same_mask_by_monais_chain(tmp_path):
    checkpoint = save_checkpoint(
        tmp_path / "weights.safetensors",
        normalization=dict(type="ct", low=-175, high=250, mean=20.0, std=110.0),
        spacing=[2.0, 1.5, 1.5],
        inference=dict(mode="slide_gaussian", roi_size=[32, 32, 32], stride=[16, 16, 16]),
    )
    arguments = ("--size", "32", "32", "32", "--spacing", "1.5", "1.5", "2.0", "--rounds", "1")
    report, printed = run_benchmark(tmp_path, "scan", *arguments, "--checkpoint", str(checkpoint))
    ours, monai = report["rows"]
    assert (ours["system"], ours["same"], monai["system"]) == ("densevit", 1, "monai")
    assert monai["same"] > 0.999
    assert ours["windows"] == monai["windows"] == 1
    assert all(row[f"{part} s"] > 0 for row in report["rows"] for part in ("load", "network", "restore", "write"))
    assert "beside network / ours" in printed


@pytest.mark.skipif(find_spec("monai") is None, reason="monai is not installed")
@pytest.mark.parametrize("size", [("20", "24"), ("12", "14", "16")], ids=str)
def test_metrics_are_timed_beside_those_of_monai_and_have_its_numbers(tmp_path, size):
    rows, printed = run_benchmark(tmp_path, "metrics", "--size", *size, "--structures", "2", "--rounds", "1")
    assert rows[0]["work"] == "densevit, all"
    assert len(rows) == 10
    assert float(printed.split("differ by ")[1].split()[0]) < 1e-5


def test_training_is_measured_idle_and_beside_busy_processes(tmp_path):
    rows, printed = run_benchmark(
        tmp_path, "busy", "--waits", "spin", "--iters", "2", "--rounds", "1", "--busy", "1", "--threads", "1"
    )
    assert [(row["waiting threads"], row["busy processes"]) for row in rows] == [
        ("spin", 0),
        ("spin", 1),
    ]
    assert all(row["it/s"] > 0 for row in rows)
    assert "busy processes" in printed


@pytest.mark.skipif(find_spec("dynamic_network_architectures") is None, reason="nnU-Net's networks are not installed")
def test_a_folder_of_nnunet_is_predicted_from_file_to_mask(tmp_path):
    arguments = ("--size", "20", "24", "22", "--patch-size", "16", "16", "16", "--classes", "3", "--dim", "2")
    result, _ = run_benchmark(tmp_path, "nnunet", *arguments, "--systems", "densevit")
    (row,) = result["rows"]
    assert row["seconds"] > 0
    assert row["same"] == 1
