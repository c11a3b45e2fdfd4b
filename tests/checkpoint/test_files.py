"""Which file is meant, and reading it once."""

import ctypes
import os
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image

from densevit import create_segmentor
from densevit.checkpoint import Header, build_model, find_weights, open_checkpoint, write_checkpoint
from densevit.cli import main
from densevit.weights import read_checkpoint, read_weights
from tests.checkpoints import save_tiny_checkpoint
from tests.predictor.scans import save_checkpoint, save_scan
from tests.weights.common import equal

IN_OPEN, EVENT = 0x20, 16  # of <sys/inotify.h>: a file was opened; bytes of what is told of it


@contextmanager
def opens_of(path):
    """A list that has one entry for each time that the system opened the file within the block."""
    libc, found = ctypes.CDLL(None, use_errno=True), []
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watch, os.fsencode(path), IN_OPEN) > 0
    try:
        yield found
        found += range(len(os.read(watch, EVENT * 1000)) // EVENT)
    finally:
        os.close(watch)


def test_weights_are_found_in_the_places_of_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*; give a weights\.safetensors that"):
        find_weights(tmp_path)
    last = tmp_path / "checkpoints" / "iter_4" / "weights.safetensors"
    for path in (last, tmp_path / "best" / "weights.safetensors", tmp_path / "weights.safetensors"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        (tmp_path / "last_checkpoint").write_text("iter_4\nsums\n")
        assert find_weights(tmp_path) == path
    assert find_weights(last) == last


def test_what_was_opened_is_handed_on_and_builds_the_model_that_was_saved(tmp_path):
    opened = open_checkpoint(save_tiny_checkpoint(tmp_path / "weights.safetensors"))
    assert open_checkpoint(opened) is opened
    model = build_model(opened)
    assert equal(model, opened.tensors)
    assert not model.training
    write_checkpoint(tmp_path / "again.safetensors", model, opened.header)
    again = open_checkpoint(tmp_path / "again.safetensors")
    assert again.header == opened.header
    assert equal(again.tensors, opened.tensors)


def test_a_checkpoint_says_what_it_is(tmp_path):
    header = open_checkpoint(save_checkpoint(tmp_path / "weights.safetensors", spacing=[2, 1, 1])).header
    assert isinstance(header, Header)
    assert (header.spacing, header.label_values) == ((2.0, 1.0, 1.0), (0, 2, 7))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a file is opened")
@pytest.mark.parametrize("kind", ["pictures", "scans"])
def test_the_command_reads_the_weights_once(tmp_path, kind):
    path = tmp_path / "run" / "weights.safetensors"
    path.parent.mkdir()
    if kind == "scans":
        save_checkpoint(path)
        image = save_scan(tmp_path / "in" / "scan.nii.gz")
    else:
        save_tiny_checkpoint(path)
        image = tmp_path / "photo.png"
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(image)
    with opens_of(path) as once:
        read_weights(path)
    with opens_of(path) as opened:
        assert main(["predict", str(path.parent), str(image), "-o", str(tmp_path / "out"), "--quiet"]) == 0
    assert len(opened) == len(once)


def test_the_folder_of_a_run_stands_for_its_weights_wherever_weights_are_read(tmp_path):
    path = save_tiny_checkpoint(tmp_path / "best" / "weights.safetensors", num_classes=3)
    expected, description = read_weights(path)[0], open_checkpoint(path).header.model
    assert read_weights(tmp_path)[0].keys() == read_checkpoint(tmp_path)[0].keys() == expected.keys()
    for folder in (tmp_path, tmp_path / "best"):
        model = create_segmentor(**description, weights=folder)
        assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty is a folder, and not that of a run"):
        read_checkpoint(tmp_path / "empty")
