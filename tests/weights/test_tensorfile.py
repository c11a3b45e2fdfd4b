"""Our own writer of safetensors files, and the digest of their content."""

import os

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from densevit.checkpoint import open_checkpoint
from densevit.weights import read_weights, save_weights
from densevit.weights.files import TYPES, write_tensors
from tests.checkpoints import save_tiny_checkpoint


def test_every_type_and_shape_is_read_back_by_safetensors(tmp_path):
    arrays = {name: torch.arange(6).reshape(2, 3).to(getattr(torch, name)) for name in TYPES}
    arrays |= {"of no axis": torch.tensor(3.5), "empty": torch.zeros(0, 4)}
    write_tensors(tmp_path / "a", arrays, metadata=dict(b="é", a="1"))
    with safe_open(tmp_path / "a", framework="pt") as file:
        assert file.metadata() == dict(a="1", b="é")
        assert set(file.keys()) == set(arrays)
        for name, array in arrays.items():
            found = file.get_tensor(name)
            assert (found.dtype, found.shape) == (array.dtype, array.shape)
            assert found.flatten().view(torch.uint8).equal(array.flatten().view(torch.uint8))


def test_numpy_arrays_are_written_as_tensors_are(tmp_path):
    for name, make in (("a", np.float32), ("b", torch.tensor)):
        write_tensors(tmp_path / name, dict(x=make([1.5, 2.0])), metadata={})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_type_that_the_format_lacks_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="x is of the type complex128, which safetensors files do not hold"):
        write_tensors(tmp_path / "a", dict(x=torch.zeros(1, dtype=torch.complex128)), metadata={})


def test_the_same_weights_give_the_same_bytes_and_others_may_read_them(tmp_path):
    before = os.umask(0o022)
    try:
        for name in "abcdef":
            save_weights(dict(x=torch.ones(2), y=torch.ones(3)), tmp_path / name, config=dict(key=1))
    finally:
        os.umask(before)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


def test_no_flipped_bit_of_a_file_changes_weights_or_header_silently(tmp_path):
    path, config = tmp_path / "a.safetensors", dict(model=dict(num_classes=3), spacing=[1.5, 2.0])
    tensors = dict(x=torch.arange(12.0).reshape(3, 4), y=torch.tensor([1, 2], dtype=torch.int16))
    save_weights(tensors, path, config=config)
    whole = path.read_bytes()
    refused = 0
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            state, found = read_weights(path)
        except ValueError:
            refused += 1
            continue
        # What is left: the format's own words, spaces that fill the header, and the names of our keys.
        assert all(torch.equal(state[name], tensor) for name, tensor in tensors.items())
        assert found in (config, None)
    assert refused > 8 * len(whole) * 0.85


def test_a_checkpoint_with_one_flipped_bit_is_refused_and_one_without_digest_is_read(tmp_path):
    path = save_tiny_checkpoint(tmp_path / "weights.safetensors", num_classes=3)
    opened, content = open_checkpoint(path), bytearray(path.read_bytes())
    content[-1000] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.safetensors is damaged .* as their checksum shows; copy it again"):
        open_checkpoint(path)
    with safe_open(save_tiny_checkpoint(path, num_classes=3), framework="pt") as file:
        said = {"densevit": file.metadata()["densevit"]}
    save_file(opened.tensors, path, metadata=said)  # as densevit wrote it before
    assert open_checkpoint(path).header == opened.header
