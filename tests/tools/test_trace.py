"""How much of the package a run enters: a bound on what one must read to follow it."""

import pytest

from tools.benchmarks.trace import trace

# Validation is scored by what `densevit evaluate` scores with: 6 files and 40 functions of `metrics` are of that.
MOST = {"train": (82, 493), "predict": (50, 276)}


@pytest.mark.slow
@pytest.mark.parametrize("run", MOST)
def test_a_run_enters_few_files_and_functions(run):
    entered = trace(run)
    files = {file for file, _ in entered}
    assert "segmentor.py" in files
    assert len(files) <= MOST[run][0]
    assert len(entered) <= MOST[run][1]
