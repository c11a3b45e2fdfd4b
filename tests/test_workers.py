"""Loaders' workers end with the block that reads from them, and one that was killed is one sentence."""

import multiprocessing
import os
import signal
import time
import traceback

import pytest
from torch.utils.data import DataLoader

from densevit.workers import WorkerError, Workers, drawing, explain_loss

FOR_EVER = 600


class Numbers:
    """0, 1, 2, ... but `at` does what it is told."""

    def __init__(self, at, act):
        self.at, self.act = at, act

    def __len__(self):
        return 20

    def __getitem__(self, index):
        if index == self.at:
            self.act()
        elif index > self.at:
            time.sleep(FOR_EVER)
        return index


def fail(error):
    def act():
        raise error

    return act


def load(at, act):
    return DataLoader(Numbers(at, act), batch_size=None, num_workers=2, worker_init_fn=Workers(2))


def test_an_error_in_a_worker_ends_all_of_them_although_others_are_busy():
    with (
        pytest.raises(ValueError, match="the file is damaged"),
        drawing(load(2, fail(ValueError("the file is damaged")))) as drawn,
    ):
        list(drawn)
    assert multiprocessing.active_children() == []


def test_an_error_in_the_block_ends_busy_workers_too():
    with pytest.raises(ZeroDivisionError), drawing(load(1, lambda: None)) as drawn:
        1 / next(drawn)
    assert multiprocessing.active_children() == []


def test_a_block_that_ends_well_ends_workers_that_read_ahead():
    with drawing(load(1, lambda: None)) as drawn:
        assert next(drawn) == 0
    assert multiprocessing.active_children() == []


def test_a_worker_that_was_killed_is_one_sentence_that_says_what_to_change():
    with (
        pytest.raises(
            WorkerError, match=r"a process that reads data \(\d+\) was ended by the system, killed: "
        ) as caught,
        drawing(load(2, lambda: os.kill(os.getpid(), signal.SIGKILL))) as drawn,
    ):
        list(drawn)
    assert (
        "memory or shared memory ran out; set the config's num_workers, train_data.batch_size or augment.crop_size"
        in str(caught.value)
    )
    assert "--shm-size" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("unable to write to file </torch_12_34_0>: No space left on device (28)"),
        RuntimeError("unable to allocate shared memory(shm) for file </torch_12_34_0>: Cannot allocate memory (12)"),
        MemoryError("Unable to allocate 3.00 GiB for an array"),
    ],
    ids=lambda error: str(error)[:20],
)
def test_a_worker_without_memory_says_so(error):
    with (
        pytest.raises(WorkerError, match="could not get memory, or shared memory"),
        drawing(load(0, fail(error))) as drawn,
    ):
        next(drawn)


def test_other_errors_are_left_as_they_are():
    assert explain_loss(RuntimeError("shapes cannot be multiplied")) is None
    assert explain_loss(ValueError("DataLoader worker (pid 3) is killed by signal: Killed.")) is None
    said = explain_loss(RuntimeError("DataLoader worker (pid 3) is killed by signal: Segmentation fault. "))
    assert said == (
        "a process that reads data (3) was ended by the system, segmentation fault: a fault in a library; set "
        "num_workers=0 in the config's data sections to see where"
    )


def test_a_signal_that_every_process_gets_ends_no_worker():
    loader = load(99, lambda: None)
    with drawing(loader) as drawn:
        found = [next(drawn), next(drawn)]  # of both workers
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGTERM)
            os.kill(process.pid, signal.SIGINT)
        assert found + list(drawn) == list(range(20))


def test_what_is_no_loader_is_drawn_from_as_well():
    with drawing(iter("ab")) as drawn:
        assert list(drawn) == ["a", "b"]
    with pytest.raises(ZeroDivisionError) as caught, drawing(1 / x for x in (1, 0)) as drawn:
        list(drawn)
    assert "1 / x" in "".join(traceback.format_tb(caught.value.__traceback__))
