"""One image on several processes: each runs its share of the windows, and all get the result of one process."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from densevit.inference import sliding_window
from densevit.inference.distributed import share
from densevit.inference.windows import Windows
from tests.conftest import REPOSITORY
from tests.inference.common import make_image, make_network

SCRIPT = """
import sys, torch, torch.distributed as dist
from pathlib import Path
from densevit.inference import sliding_window
from tests.inference.common import make_image, make_network

rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=size)
network, calls = make_network(3), []
for name, (reduce, options) in CASES.items():
    counted = lambda x: (calls.append(len(x)), network(x))[1]
    options |= dict(roi_size=(12, 10, 11), split=True, reduce=reduce)
    result = sliding_window(counted, make_image((60, 20, 22)), **options)
    torch.save(result, folder / f"{name}_{rank}.pt")
torch.save(sum(calls), folder / f"calls_{rank}.pt")
dist.barrier()
dist.destroy_process_group()
"""
CASES = {
    "labels": ("labels", dict(overlap=0.5)),
    "logits": ("logits", dict(overlap=0.5)),
    "overlapping": ("probabilities", dict(overlap=0.8, axis=1)),
    "apart": ("labels", dict(overlap=0.0, batch_size=3)),
    "fewer rows than processes": ("labels", dict(overlap=0.25, axis=1)),
}


@pytest.mark.parametrize("size", [2, 4])
def test_processes_share_the_windows_and_get_what_one_gets(tmp_path, size):
    code = SCRIPT.replace("CASES", repr(CASES))
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen([*command, str(r), str(size), str(tmp_path)], cwd=REPOSITORY) for r in range(size)]
    assert [process.wait(timeout=120) for process in processes] == [0] * size
    network, image, windows = make_network(3), make_image((60, 20, 22)), 0
    for name, (reduce, options) in CASES.items():
        expected = sliding_window(network, image, roi_size=(12, 10, 11), reduce=reduce, **options)
        geometry = {key: value for key, value in options.items() if key != "axis"}
        windows += Windows(roi_size=(12, 10, 11), **geometry).layout((60, 20, 22)).num_windows
        for rank in range(size):
            result = torch.load(tmp_path / f"{name}_{rank}.pt")
            # Where more than two rows overlap, a seam is summed in another order.
            torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    assert sum(torch.load(tmp_path / f"calls_{rank}.pt") for rank in range(size)) == windows  # none is run twice


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_are_neighbours_and_of_about_one_size(size):
    layout = Windows(roi_size=10).layout((90, 20, 20), axis=0)
    rows = [share(layout, rank, size) for rank in range(size)]
    assert [row for part in rows for row in part] == list(range(17))
    assert np.ptp([len(part) for part in rows]) <= 1


def test_without_other_processes_there_is_nothing_to_share():
    with pytest.raises(ValueError, match="split shares windows among processes, and there is one; start with torchrun"):
        sliding_window(pytest.fail, make_image((20, 20)), roi_size=8, split=True, reduce="labels")


@pytest.mark.parametrize("options", [dict(out="labels.npy"), dict(native="any")], ids=str)
def test_what_processes_cannot_share_is_refused(options):
    with pytest.raises(ValueError, match="leave out native and paths, or divide files among the processes instead"):
        sliding_window(pytest.fail, make_image((20, 20)), roi_size=8, split=True, reduce="labels", **options)
