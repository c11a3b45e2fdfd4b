"""Several Python threads: the same results as one after the other, and the process as it was."""

import os
import subprocess
import sys
import threading

import pytest
import torch

from densevit.inference import NativeGrid, sliding_window
from densevit.inference.interpolate import one_thread
from tests.inference.common import make_image, make_network

linux = pytest.mark.skipif(sys.platform != "linux", reason="threads have numbers of their own on Linux")


def run_together(*work):
    """What each function returns, all running at once, each in a thread of its own."""
    results = [None] * len(work)

    def run(index):
        results[index] = work[index]()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@linux
def test_one_thread_concerns_the_python_thread_that_asks_alone():
    code = """
import threading, torch
from densevit.inference.interpolate import one_thread
torch.set_num_threads(2)
inside, checked, left = threading.Event(), threading.Event(), threading.Event()
counts = {}

def first():
    with one_thread():
        inside.set()
        checked.wait()
        counts["within"] = torch.get_num_threads()
    counts["after"] = torch.get_num_threads()

def overlapping():
    torch.get_num_threads()
    inside.wait()
    with one_thread():
        checked.set()
        left.wait()
    counts["of the last to leave"] = torch.get_num_threads()

threads = [threading.Thread(target=first), threading.Thread(target=overlapping)]
for thread in threads:
    thread.start()
inside.wait()
begun = threading.Thread(target=lambda: counts.update(begun_meanwhile=torch.get_num_threads()))
begun.start()
begun.join()
counts["elsewhere"] = torch.get_num_threads()
threads[0].join()
left.set()
threads[1].join()
counts["at the end"] = torch.get_num_threads()
begun = threading.Thread(target=lambda: counts.update(begun_later=torch.get_num_threads()))
begun.start()
begun.join()
assert counts.pop("within") == 1, counts
assert set(counts.values()) == {2}, counts
"""
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_one_thread_ends_with_an_error():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert torch.get_num_threads() == before


@pytest.mark.usefixtures("two_threads")
def test_windows_in_two_threads_give_the_labels_of_one_after_the_other_and_leave_the_thread_count():
    size, native = (24, 20, 22), NativeGrid.same_extent((60, 50, 51), (24, 20, 22))
    options = dict(roi_size=(12, 10, 11), reduce="labels", native=native, batch_size=2)
    images, network = [make_image(size, seed=seed) for seed in (0, 1)], make_network(3)

    def work(image):
        return lambda: [sliding_window(network, image, **options) for _ in range(5)]

    apart = [work(image)() for image in images]
    *together, count_meanwhile = run_together(*(work(image) for image in images), torch.get_num_threads)
    for one, other in zip(apart, together, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert (count_meanwhile, torch.get_num_threads(), *run_together(torch.get_num_threads)) == (2, 2, 2)
