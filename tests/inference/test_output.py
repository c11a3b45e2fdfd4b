"""Results arrive plane by plane where they were asked for, whole or not at all."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import zarr

from densevit.inference import sliding_window
from tests.inference.common import make_image, make_network

SIZE, ROI = (40, 33, 29), (16, 12, 12)


@pytest.fixture(scope="module")
def expected():
    return sliding_window(make_network(3), make_image(SIZE), roi_size=ROI)


def run(out, *, reduce="labels", network=None, **options):
    network = network or make_network(3)
    return sliding_window(network, make_image(SIZE), roi_size=ROI, reduce=reduce, out=out, **options)


@pytest.mark.parametrize("axis", [0, 2])
def test_arrays_of_every_kind_are_filled(tmp_path, expected, axis):
    arrays = {
        "numpy": np.full(SIZE, 99, np.uint8),
        "memory map": np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.uint8, shape=SIZE),
        "zarr": zarr.create_array(tmp_path / "a.zarr", shape=SIZE, dtype="uint8", chunks=(16, 16, 16)),
        "tensor": torch.full(SIZE, 99, dtype=torch.uint8),
    }
    for name, out in arrays.items():
        assert run(out, axis=axis) is out
        assert np.array_equal(np.asarray(out[:]), expected.argmax(0).numpy()), name


@pytest.mark.parametrize("ending", [".npy", ".zarr"])
def test_a_path_becomes_a_file_of_the_smallest_type(tmp_path, expected, ending):
    path = tmp_path / f"labels{ending}"
    for _ in range(2):  # the second time over the first
        assert run(path) == path
    stored = np.load(path) if ending == ".npy" else zarr.open_array(path)[:]
    assert stored.dtype == np.uint8
    assert np.array_equal(stored, expected.argmax(0).numpy())
    assert list(tmp_path.iterdir()) == [path]


def test_logits_and_probabilities_stream_too(tmp_path, expected):
    assert np.allclose(np.load(run(tmp_path / "logits.npy", reduce="logits")), expected.numpy(), atol=1e-5)
    probabilities = np.zeros((5, *SIZE), np.float16)
    run(probabilities, reduce="probabilities")
    assert np.allclose(probabilities, expected.softmax(0).numpy(), atol=1e-3)


def test_many_classes_need_a_larger_type(tmp_path):
    network = lambda x: x[:, :1].expand(-1, 300, -1, -1, -1) * torch.linspace(-1, 1, 300)[:, None, None, None]  # noqa: E731
    assert np.load(run(tmp_path / "labels.npy", network=network)).dtype == np.uint16
    with pytest.raises(ValueError, match="out holds uint8, and labels go up to 299; make it of a larger type"):
        run(np.zeros(SIZE, np.uint8), network=network)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((40, 33, 28), np.uint8), r"out has the shape \(40, 33, 28\), and results have \(40, 33, 29\)"),
        (np.zeros((2, *SIZE), np.uint8), r"out has the shape \(2, 40, 33, 29\), and the results have \(40, 33, 29\)"),
        ("labels.nii", "must end in .npy or .zarr; for other files give an array"),
        (7, r"out has the shape \(\), and results have"),
    ],
    ids=str,
)
def test_an_output_that_does_not_fit_is_explained(out, message):
    with pytest.raises(ValueError, match=message):
        run(out)


def test_an_integer_array_takes_no_logits():
    with pytest.raises(ValueError, match=r"out holds uint8, and the results are torch\.float32; make it of a floating"):
        run(np.zeros((5, *SIZE), np.uint8), reduce="logits")


def read_only(tmp_path):
    array = np.zeros(SIZE, np.uint8)
    array.flags.writeable = False
    np.save(tmp_path / "a.npy", array)
    zarr.create_array(tmp_path / "a.zarr", shape=SIZE, dtype="uint8")
    return [array, np.load(tmp_path / "a.npy", mmap_mode="r"), zarr.open_array(tmp_path / "a.zarr", mode="r")]


def test_a_read_only_output_is_refused_before_the_network_runs(tmp_path):
    for out in read_only(tmp_path):
        with pytest.raises(ValueError, match=r"out is read-only; open it for writing \(mode 'r\+'\)"):
            run(out, network=pytest.fail)


def test_a_folder_that_is_not_there_is_refused_before_the_network_runs(tmp_path):
    with pytest.raises(PermissionError, match=r"cannot be written: .* is no folder that takes files"):
        run(tmp_path / "missing" / "labels.npy", network=pytest.fail)


class Breaks:
    def __init__(self, after):
        self.network, self.left = make_network(3), after

    def __call__(self, windows):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.network(windows)


@pytest.mark.parametrize("ending", [".npy", ".zarr"])
def test_an_interrupted_run_leaves_what_was_there_and_nothing_half_written(tmp_path, ending):
    path = tmp_path / f"labels{ending}"
    for before in ([], [path]):
        with pytest.raises(KeyboardInterrupt):
            run(path, network=Breaks(40), batch_size=1)
        assert list(tmp_path.iterdir()) == before
        run(path)
    stored = np.load(path) if ending == ".npy" else zarr.open_array(path)[:]
    assert stored.shape == SIZE


KILLED = """
import sys, time, torch
from densevit.inference import sliding_window
calls = []
def slow(x):
    calls.append(1)
    if len(calls) == 40:
        print("half way", flush=True)
        time.sleep(60)
    return x
sliding_window(slow, torch.rand(2, 40, 33, 29), roi_size=(16, 12, 12), reduce="labels", out=sys.argv[1], batch_size=1)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_killed_run_leaves_nothing_under_the_final_name(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "labels.npy")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half way\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1  # what was written beside
    assert not (tmp_path / "labels.npy").exists()


def test_a_failing_disk_is_the_callers_error():
    class Full:
        shape, dtype = SIZE, np.dtype(np.uint8)

        def __setitem__(self, index, values):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run(Full())


def test_two_outputs_with_long_names_are_written_at_once(tmp_path, expected):
    names = [tmp_path / f"{'a' * 60}_{i}.npy" for i in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, names))
    for name in names:
        assert np.array_equal(np.load(name), expected.argmax(0).numpy())


def test_a_path_that_holds_something_else_is_left_alone(tmp_path):
    group = zarr.open_group(tmp_path / "study.zarr", mode="w")
    group.create_array("scan", shape=(2, 2), dtype="uint8")
    (tmp_path / "folder.npy").mkdir()
    for name in ("study.zarr", "folder.npy"):
        with pytest.raises(ValueError, match="holds something else than one array; give another name"):
            run(tmp_path / name, network=pytest.fail)
    assert zarr.open_group(tmp_path / "study.zarr", mode="r")["scan"].shape == (2, 2)


def test_a_copy_of_a_memory_map_is_an_array(tmp_path, expected):
    np.save(tmp_path / "image.npy", make_image(SIZE).numpy())
    copy = np.load(tmp_path / "image.npy", mmap_mode="r").astype(np.float32)
    result = sliding_window(make_network(3), copy, roi_size=ROI, reduce="labels")
    assert torch.equal(result, expected.argmax(0))


def test_sums_in_bfloat16_are_stored_as_float32(tmp_path, expected):
    stored = np.load(run(tmp_path / "logits.npy", reduce="logits", sum_dtype=torch.bfloat16))
    assert stored.dtype == np.float32
    assert np.allclose(stored, expected.numpy(), atol=0.1)
    tensor = torch.zeros(5, *SIZE, dtype=torch.bfloat16)
    assert run(tensor, reduce="logits", sum_dtype=torch.bfloat16) is tensor
