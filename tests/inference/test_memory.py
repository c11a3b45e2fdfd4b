"""Memory: what is free, and what a piece of work takes."""

import sys

import pytest
import torch

from densevit.inference.memory import available_bytes, peak_above

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
CPU = torch.device("cpu")


def test_a_peak_is_what_a_piece_of_work_adds():
    with peak_above(CPU) as peak:
        torch.zeros(20_000_000).add_(1)
    assert peak.bytes == pytest.approx(80e6, rel=0.2)


def test_available_memory_is_less_than_the_machine_has():
    pages = 4096 * 2**30
    assert 0 < available_bytes(CPU) < pages
