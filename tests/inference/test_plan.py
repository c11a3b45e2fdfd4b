"""What a run will take is said before it starts, and holds."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from densevit.inference import plan_windows, sliding_window
from densevit.texts import format_bytes, parse_bytes
from tests.conftest import REPOSITORY
from tests.inference.common import make_image, make_network

SIZE, ROI = (40, 33, 60), (16, 12, 12)


def plan(**options):
    return plan_windows(make_network(3), make_image(SIZE), **{"roi_size": ROI, "batch_size": 1, **options})


def test_the_plan_counts_windows_classes_and_the_bytes_of_the_sums():
    made = plan()
    assert made.layout.axis == 2
    assert made.num_classes == 5
    assert made.layout.num_windows == 4 * 5 * 9
    assert made.host_bytes["sums"] == 5 * 40 * 33 * 12 * 4
    assert made.whole_bytes == 5 * 40 * 33 * 60 * 4
    assert made.device_bytes == {}
    assert made.seconds > 0


def test_the_windows_that_were_planned_are_those_that_run():
    made, sizes = plan(batch_size=3), []

    def network(windows):
        sizes.append(len(windows))
        return make_network(3)(windows)

    result = sliding_window(network, make_image(SIZE), roi_size=ROI, reduce="labels", **made.options)
    assert sum(sizes) == made.layout.num_windows
    assert max(sizes) == made.batch_size == 3
    assert torch.equal(result, sliding_window(make_network(3), make_image(SIZE), roi_size=ROI, reduce="labels"))


def test_logits_in_a_new_tensor_are_held_whole():
    assert plan(reduce="logits").host_bytes["sums"] == plan().whole_bytes
    assert plan(reduce="logits", new_tensor=False).host_bytes["sums"] < plan().whole_bytes


def test_less_memory_means_smaller_sums_and_too_little_is_refused_with_both_numbers():
    network, large = make_network(3), torch.zeros(1).expand(2, 400, 400, 600)  # whose sums outweigh what is measured
    options = dict(roi_size=ROI, batch_size=1)
    full = plan_windows(network, large, **options)
    assert full.sum_dtype == torch.float32
    half = plan_windows(network, large, **options, max_memory=full.peak_bytes - full.host_bytes["sums"] // 4)
    assert half.sum_dtype == torch.float16
    assert half.host_bytes["sums"] == full.host_bytes["sums"] // 2
    with pytest.raises(ValueError, match=r"max_memory is 1 kB, and this takes .* at least; give a smaller roi_size"):
        plan(max_memory="1kB")
    with pytest.raises(ValueError, match="at least; reduce to labels, give a smaller roi_size"):
        plan(max_memory="1kB", reduce="logits")


def test_a_plan_never_runs_more_windows_at_once_than_there_are():
    assert plan_windows(make_network(2), make_image((16, 16)), roi_size=(16, 16), batch_size=8).batch_size == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(grid="foo"), "no grid named 'foo'"),
        (dict(batch_size=0), "batch_size must be 'auto' or at least 1"),
        (dict(reduce="probabilities"), "reduce must be 'labels' or 'logits' for a plan"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        plan(**options)


def test_it_reads_as_prose():
    text = str(plan())
    assert text.startswith("180 windows of 16 x 12 x 12 on 40 x 33 x 60, 5 classes: 9 rows along axis 2, 1 window a")
    assert "host: " in text
    assert "without streaming, the sums alone would take 1.58 MB" in text


@given(count=st.integers(1, 10**14))
def test_amounts_of_memory_are_read_as_they_are_written(count):
    assert parse_bytes(format_bytes(count)) == pytest.approx(count, rel=0.005)
    assert parse_bytes(count) == count


@pytest.mark.parametrize(
    ("text", "count"), [("4GB", 4 * 10**9), ("1.5 GiB", 3 * 2**29), ("512m", 512 * 10**6), ("7", 7)]
)
def test_amounts_of_memory_have_the_usual_units(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "lots", "4 GBit", "0", "-3GB", "1..5GB"])
def test_what_is_no_amount_of_memory_is_explained(text):
    with pytest.raises(ValueError, match="expected an amount of memory such as 4GB, 512MiB or a number of bytes"):
        parse_bytes(text)


MEASURE = """
import json, sys
from pathlib import Path
import numpy as np, torch
from benchmarks.timing import peak_megabytes, reset_peak, resident_megabytes
from densevit.inference import plan_windows, sliding_window

torch.set_grad_enabled(False)
torch.set_num_threads(1)
length, classes = int(sys.argv[1]), 105
image = np.load(sys.argv[2], mmap_mode="r")[:, :, :length]
out = np.lib.format.open_memmap(sys.argv[3], mode="w+", dtype=np.uint8, shape=image.shape)
network = torch.nn.Conv3d(1, classes, 1)
options = dict(roi_size=(64, 64, 64), overlap=0.25)
sliding_window(network, np.zeros((64, 64, 68), np.float32), **options, reduce="labels")  # what libraries do once
plan = plan_windows(network, image, **options, batch_size=1, new_tensor=False)
reset_peak()
before = resident_megabytes()
sliding_window(network, image, **options, **plan.options, reduce="labels", out=out)
print(json.dumps(dict(peak=peak_megabytes() - before, planned=plan.peak_bytes / 1e6, whole=plan.whole_bytes / 1e6)))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_the_peak_of_many_classes_is_the_planned_one_and_stays_where_it_is_when_the_volume_doubles(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "image.npy", rng.standard_normal((96, 96, 320), np.float32))
    measured = {}
    for length in (160, 320):
        files = [str(tmp_path / "image.npy"), str(tmp_path / f"{length}.npy")]
        command = [sys.executable, "-c", MEASURE, str(length), *files]
        # Freed blocks go back to the system at once: the peak is what was in use, not what the heap happened to keep.
        environment = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
        environment["PYTHONPATH"] = f"{REPOSITORY}:{REPOSITORY / 'tools'}"
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        measured[length] = json.loads(done.stdout)
    for row in measured.values():
        assert row["peak"] == pytest.approx(row["planned"], rel=0.1)
    assert measured[320]["peak"] == pytest.approx(measured[160]["peak"], rel=0.05)
    assert measured[320]["peak"] < measured[320]["whole"] / 2
