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
