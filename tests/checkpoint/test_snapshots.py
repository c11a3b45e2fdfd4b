import builtins
import errno
import os
import re
import resource
import shutil
import subprocess
from dataclasses import replace

import pytest
import torch

from densevit.checkpoint import Header, find_weights
from densevit.checkpoint import snapshots as module
from densevit.checkpoint.snapshots import (
    CheckpointError,
    best_score,
    clean_up,
    find_snapshot,
    list_snapshots,
    save_best,
    save_snapshot,
)
from densevit.files import write_text
from densevit.train.resume import get_random_state, set_random_state, set_seed

HEADER = Header(model=dict(backbone="mit_b0", decoder="all_mlp", num_classes=3))


def save(folder, iteration, **options):
    weights = {"w": torch.full((100,), float(iteration))}
    state = dict(iteration=iteration, random=[get_random_state()], moments={0: torch.ones(50_000)})
    return save_snapshot(folder, iteration, weights=weights, header=HEADER, state=state, **options)


def sentence_of(operation):
    """The message with which a save gave up, or None."""
    try:
        operation()
    except CheckpointError as error:
        return str(error)
    return None


def names(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


class FailingDisk:
    """Lets `allowed` operations that touch the disk pass, and answers every later one with ENOSPC."""

    TARGETS = (
        (os, "fsync"),
        (os, "replace"),
        (os, "rename"),
        (os, "mkdir"),
        (builtins, "open"),
        (torch, "save"),
        (shutil, "rmtree"),
    )

    def __init__(self, monkeypatch, allowed):
        self.left = allowed
        self.failed = None
        for owner, name in self.TARGETS:
            monkeypatch.setattr(owner, name, self._wrap(name, getattr(owner, name)))

    def _wrap(self, name, original):
        def operation(*args, **options):
            reads = name == "open" and not set("wax+") & set(args[1] if len(args) > 1 else options.get("mode", "r"))
            if reads or (name == "rmtree" and options.get("ignore_errors")):
                return original(*args, **options)
            if self.left == 0:
                self.failed = self.failed or name
                raise OSError(errno.ENOSPC, "No space left on device")
            self.left -= 1
            return original(*args, **options)

        return operation


def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path):
    saved = save(tmp_path, 3)
    state = saved.read_state()
    assert (saved.iteration, saved.fault(), state["iteration"]) == (3, None, 3)
    assert torch.equal(state["moments"][0], torch.ones(50_000))
    assert find_snapshot(tmp_path) == saved


def test_checksums_are_those_of_sha256sum(tmp_path):
    saved = save(tmp_path, 3)
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=saved.folder, check=True, capture_output=True
    )
    name, *sums = (tmp_path / "last_checkpoint").read_text().splitlines()
    assert name == "iter_3"
    assert sums == (saved.folder / "SHA256SUMS").read_text().splitlines()


def test_only_the_newest_are_kept(tmp_path):
    for iteration in (1, 2, 10):
        save(tmp_path, iteration, max_keep=2)
    assert names(tmp_path) == ["iter_10", "iter_2"]


def test_the_old_one_is_removed_after_the_new_one_is_pointed_at(tmp_path, monkeypatch):
    save(tmp_path, 1, max_keep=1)
    pointers = []
    remove = module.remove_folder
    monkeypatch.setattr(
        module, "remove_folder", lambda f: (pointers.append((tmp_path / "last_checkpoint").read_text()), remove(f))
    )
    save(tmp_path, 2, max_keep=1)
    assert [pointer.split("\n")[0] for pointer in pointers] == ["iter_2"]
    assert names(tmp_path) == ["iter_2"]


def test_a_disk_full_at_any_step_leaves_a_whole_checkpoint_and_one_sentence(tmp_path, monkeypatch):
    """Every operation fails in turn, until a save needs no more of them than are allowed."""
    failures = []
    for allowed in range(100):
        folder = tmp_path / str(allowed)
        first = save(folder, 1, max_keep=1)
        with monkeypatch.context() as patch:
            disk = FailingDisk(patch, allowed)
            message = sentence_of(lambda folder=folder: save(folder, 2, max_keep=1))
        failures.append(disk.failed)
        if message is not None:
            assert re.fullmatch(
                r"could not save checkpoint iter_2 .*no space left.*; iter_[12] is whole.*", message, re.I
            )
        found = find_snapshot(folder)
        assert found.fault() is None
        assert found == first or found.iteration == 2
        clean_up(folder)
        assert save(folder, 3, max_keep=1).fault() is None
        assert names(folder) == ["iter_3"]
        if disk.failed is None:
            break
    assert {"fsync", "replace", "open", "save"} <= set(failures)
    assert failures[-1] is None


@pytest.mark.parametrize("limit", [100, 5000, 60_000])
def test_a_write_that_really_fails_leaves_the_previous_checkpoint(tmp_path, limit):
    """The system itself refuses to let a file grow: safetensors and torch fail in their own ways."""
    first = save(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"\(File too large\); iter_1 is whole"):
            save(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == ["iter_1"]
    assert find_snapshot(tmp_path) == first


def test_the_best_weights_survive_a_full_disk(tmp_path, monkeypatch):
    weights = {"w": torch.ones(3)}
    header = replace(HEADER, training={"scores": {"mIoU": 50.0}})
    save_best(tmp_path, weights=weights, header=header)
    for allowed in range(100):
        with monkeypatch.context() as patch:
            disk = FailingDisk(patch, allowed)
            message = sentence_of(lambda: save_best(tmp_path, weights=weights, header=header))
        assert message is None or "former ones, if any, are unchanged" in message
        assert best_score(tmp_path) == 50.0
        if disk.failed is None:
            break
    assert disk.failed is None


def test_a_damaged_pointer_does_not_hide_the_checkpoints(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    write_text(tmp_path / "last_checkpoint", "iter_9\n")
    assert find_snapshot(tmp_path).iteration == 2


def test_leftovers_of_a_crash_are_cleaned_and_a_folder_moved_aside_is_put_back(tmp_path):
    save(tmp_path, 1)
    folder = tmp_path / "checkpoints"
    (folder / ".0123456789ab.iter_2").mkdir()
    (folder / "iter_1").rename(folder / ".iter_1.former")
    assert find_snapshot(tmp_path).iteration == 1
    clean_up(tmp_path)
    assert names(tmp_path) == ["iter_1"]


def test_a_state_with_code_in_it_does_not_run(tmp_path):
    saved = save(tmp_path, 1)
    witness = tmp_path / "witness"

    class Evil:
        def __reduce__(self):
            return open, (str(witness), "w")

    torch.save(Evil(), saved.folder / "state.pt")
    assert "does not match" in saved.fault()
    with pytest.raises(CheckpointError, match="is no state of a run") as caught:
        saved.read_state()
    assert "weights_only" not in str(caught.value)
    assert not witness.exists()


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no zip", b"\x80\x02}q\x00.", [1, 2], None], ids=str)
def test_a_state_that_does_not_load_is_one_sentence(tmp_path, content):
    saved = save(tmp_path, 1)
    path = saved.folder / "state.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match="train without --resume to start anew") as caught:
        saved.read_state()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["SHA256SUMS", "state.pt", "weights.safetensors"])
def test_one_damaged_byte_in_the_newest_checkpoint_leaves_the_older_one(tmp_path, name):
    save(tmp_path, 1)
    path = save(tmp_path, 2).folder / name
    content = bytearray(path.read_bytes())
    content[3] = 0xFF  # no UTF-8
    path.write_bytes(content)
    assert find_snapshot(tmp_path).iteration == 1


def test_a_damaged_pointer_neither_hides_the_newest_checkpoint_nor_names_an_older_one(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    whole = (tmp_path / "last_checkpoint").read_bytes()
    for content in (whole.replace(b"iter_2", b"iter_1"), whole.replace(b"_", b"\xff", 1), b"..\0", b""):
        (tmp_path / "last_checkpoint").write_bytes(content)
        assert find_snapshot(tmp_path).iteration == 2
    assert find_weights(tmp_path).parent.name == "iter_2"


def test_what_a_killed_writer_left_is_removed(tmp_path):
    save_best(tmp_path, weights={"w": torch.ones(3)}, header=HEADER)
    for place in (tmp_path, tmp_path / "best"):
        (place / ".0123456789ab.weights.safetensors").write_bytes(b"half")
        (place / ".hidden").touch()
    clean_up(tmp_path)
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == [".hidden", "weights.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "best"]


def test_random_states_come_back_exactly(tmp_path):
    import random

    import numpy as np

    set_seed(3)
    torch.rand(5), np.random.normal(), random.gauss(0, 1)
    saved = save(tmp_path, 1)

    def draw():
        return torch.rand(3).tolist(), np.random.normal(size=3).tolist(), [random.gauss(0, 1) for _ in range(3)]

    first = draw()
    set_seed(99)
    set_random_state(saved.read_state()["random"][0])
    assert draw() == first


def test_folders_that_are_no_checkpoints_are_left_alone(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "checkpoints" / "iter_best").mkdir()
    assert [found.iteration for found in list_snapshots(tmp_path)] == [1]
