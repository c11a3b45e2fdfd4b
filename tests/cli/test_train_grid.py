"""`tools/train_grid.py`: each run once, each in a process of its own, and a table of all."""

import json

import pytest

from tools import train_grid


@pytest.mark.slow
def test_a_grid_trains_each_run_once_and_tells_score_time_and_memory(config, tmp_path, capfd, monkeypatch):
    command = ["train_grid.py", "--out", str(tmp_path / "grid"), "--configs", str(config), "--device", "cpu"]
    monkeypatch.setattr("sys.argv", command)
    assert train_grid.main() == 0
    assert f"{config.stem}: training" in capfd.readouterr().out
    assert train_grid.main() == 0
    table = capfd.readouterr().out
    assert f"{config.stem}: training" not in table
    (row,) = json.loads((tmp_path / "grid" / "grid.json").read_text())["rows"]
    assert f"{row['score']:.1f}" in table
    assert row["iterations"] == row["settings"]["train_cfg"]["max_iters"]
    assert 0.1 < row["peak_gb"] < 24
    assert row["cpu_minutes"] > 0


def test_runs_that_differ_in_their_seed_have_a_mean_and_a_deviation():
    rows = [dict(run=f"a_seed{i}", metric="mIoU", score=score) for i, score in enumerate((1.0, 2.0, 3.0))]
    found = train_grid.over_seeds([*rows, dict(run="b_seed0", metric="mIoU", score=5.0)])
    assert found == [
        {"run": "a", "seeds": 3, "mean mIoU": 2.0, "deviation": 1.0},
        {"run": "b", "seeds": 1, "mean mIoU": 5.0, "deviation": None},
    ]
