"""The fuzz script damages files the same way each time, and what is found on a few of them is read or refused."""

import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tools.fuzz import KINDS, maker
from tools.fuzzing.kind import Sample
from tools.fuzzing.loop import damaged, inputs, try_one

FEW = {"checkpoints": 15, "seg": 20, "dicom": 20}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_a_few_damaged_files_of_each_kind_are_read_right_or_refused_in_a_sentence(kind, tmp_path):
    found = list(inputs(maker(kind), tmp_path / "files", seed=5, start=0, count=FEW.get(kind, 40)))
    assert [outcome for outcome in found if outcome.kind in ("crash", "silently wrong")] == []
    assert {"clear"} <= {outcome.kind for outcome in found} <= {"clear", "right"}


def test_the_same_seed_damages_in_the_same_way(tmp_path):
    tmp_path.joinpath("a").mkdir()
    samples = maker("pictures")(tmp_path / "a")
    originals = [sample.path.read_bytes() for sample in samples]
    one, other, third = (
        [damaged(samples, originals, seed=seed, index=index) for index in range(30)] for seed in (1, 1, 2)
    )
    assert one == other != third
    assert any(told for _, _, told in one)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (ValueError("{path} is damaged; copy it again"), "clear"),
        (ValueError("something went wrong in it"), "crash"),
        (ValueError("{path} is\ndamaged"), "crash"),
        (IndexError("{path} is damaged; copy it again"), "crash"),
        (np.array([1, 2]), "right"),
        (np.array([1, 3]), "silently wrong"),
        (np.array([1, 9]), "silently wrong"),
    ],
    ids=str,
)
def test_what_counts_as_what(tmp_path, found, said):
    path = tmp_path / "a.bin"
    path.write_bytes(b"x")

    def read():
        assert path.read_bytes() == b"y"
        if isinstance(found, Exception):
            raise type(found)(str(found).format(path=path))
        return found

    sample = Sample(path=path, read=read, checksum=True, allowed=frozenset((1, 2, 3)))
    outcome = try_one(sample, b"y", b"x", expected=np.array([1, 2]), told=True, index=0)
    assert outcome.kind == said
    assert path.read_bytes() == b"x"


def test_a_reader_that_hangs_dies_or_eats_memory_is_counted_and_the_rest_goes_on(tmp_path):
    code = f"""
import os, sys, time
from collections import Counter
from pathlib import Path
sys.path.insert(0, {str(REPOSITORY)!r})
from tools.fuzzing import loop
from tools.fuzzing.kind import Sample
def make(folder):
    path = folder / "a"
    path.write_bytes(bytes(200))
    def read():
        first = sum(path.read_bytes()) % 17
        if first == 1: time.sleep(60)
        if first in (2, 5, 6): os._exit(3)
        if first in (3, 7, 8, 9): bytearray(2**40)
    return [Sample(path=path, read=read)]
counts, bad = loop.run(make, Path({str(tmp_path)!r}), seed=0, minutes=3, limit=1, count=50)
said = " ".join(outcome.said for outcome in bad)
assert counts["right"] > 1, counts
assert "no end within" in said and "ended with 3" in said and "MemoryError" in said, said
"""
    subprocess.run([sys.executable, "-c", code], check=True)
