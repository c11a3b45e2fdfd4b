"""Memory: what is free, and what glibc keeps between forwards."""

import json
import subprocess
import sys

import pytest
import torch

from densevit.inference.memory import available_bytes, keep_freed_memory, peak_above

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
CPU = torch.device("cpu")

FAULTS = """
import json, resource, torch
from contextlib import nullcontext
from densevit.inference.memory import keep_freed_memory, resident_bytes

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    before = faults()
    for _ in range(20):
        torch.zeros(10_000_000)  # 40 MB: a map of its own
    return faults() - before

work()
counts = [work()]
with keep_freed_memory():
    with keep_freed_memory():
        work()
    counts.append(work())
    held = resident_bytes()
released = held - resident_bytes()
print(json.dumps(dict(counts=counts, released=released)))
"""


def test_freed_memory_is_kept_within_the_block_and_given_back_at_its_end():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    plain, kept = measured["counts"]
    assert kept < plain / 10  # page faults, not seconds
    assert measured["released"] > 30e6


def test_a_peak_is_what_a_piece_of_work_adds():
    with peak_above(CPU) as peak:
        torch.zeros(20_000_000).add_(1)
    assert peak.bytes == pytest.approx(80e6, rel=0.2)


def test_available_memory_is_less_than_the_machine_has():
    pages = 4096 * 2**30
    assert 0 < available_bytes(CPU) < pages


def test_an_error_ends_the_block():
    with pytest.raises(KeyError), keep_freed_memory():
        raise KeyError
    with keep_freed_memory():
        pass
