"""Checkpoint files: what is written is read back, damage is named in one sentence, and no code of a file runs."""

import argparse
import builtins
import errno
import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from densevit.weights import read_checkpoint, read_weights, save_weights

CONFIG = {"model": {"backbone": "mit_b0", "num_classes": 19}, "classes": ["road", "sky"], "scale": 0.5, "none": None}


def tensors():
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tied = torch.randn(3)
    return {
        "plain": torch.randn(2, 3),
        "transposed": whole.T,
        "slice": whole[1:3, 2:],
        "tied.a": tied,
        "tied.b": tied,
        "half": torch.randn(5).bfloat16(),
        "count": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "empty too": torch.zeros(0),
    }


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call

    def __call__(self):
        """Only so that it can stand where pickle wants a function."""


def one_sentence(error):
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


def test_saved_weights_are_read_back_bit_for_bit_with_their_config(tmp_path):
    state = tensors()
    save_weights(state, tmp_path / "a.safetensors", config=CONFIG)
    read, config = read_weights(tmp_path / "a.safetensors")
    assert config == CONFIG
    assert read.keys() == state.keys()
    assert all(read[name].dtype == state[name].dtype and torch.equal(read[name], state[name]) for name in state)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_saving_does_not_change_the_model_and_takes_parameters_that_need_gradients(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    model.append(model[0])
    save_weights(model, tmp_path / "a.safetensors", config={})
    state, config = read_weights(tmp_path / "a.safetensors")
    assert config == {}
    assert state.keys() == model.state_dict().keys()
    assert model[2] is model[0]


def test_a_safetensors_file_of_others_has_no_config(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    assert read_weights(tmp_path / "a.safetensors")[1] is None
    assert read_checkpoint(tmp_path / "a.safetensors")[1] == {}


@pytest.mark.parametrize("config", [{"a": Path("x")}, {"a": float("nan")}, {"a": torch.ones(1)}], ids=repr)
def test_a_config_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path, config):
    with pytest.raises(ValueError, match="only what JSON can"):
        save_weights(tensors(), tmp_path / "a.safetensors", config=config)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_halfway_leaves_the_former_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_weights({"a": torch.ones(2)}, path, config={})
    before = path.read_bytes()

    def full_disk(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_weights({"a": torch.zeros(2)}, path, config={})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_rename_that_fails_leaves_the_former_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_weights({"a": torch.ones(2)}, path, config={})

    def refuse(*_paths):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        save_weights({"a": torch.zeros(2)}, path, config={})
    assert torch.equal(read_weights(path)[0]["a"], torch.ones(2))
    assert list(tmp_path.iterdir()) == [path]


def test_saving_makes_the_folder_and_where_that_cannot_be_is_an_oserror(tmp_path):
    save_weights(tensors(), tmp_path / "none" / "a.safetensors", config={})
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["a.safetensors"]
    with pytest.raises(OSError, match=r"a\.safetensors"):
        save_weights(tensors(), tmp_path / "none" / "a.safetensors" / "b.safetensors", config={})


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("container", [None, "state_dict", "model"])
def test_a_pickled_state_dict_is_found_in_its_container_with_its_meta(tmp_path, container, legacy):
    state = OrderedDict(a=torch.ones(2), b=torch.zeros(1))
    content = state if container is None else {container: state, "meta": {"epoch": 3}, "optimizer": {"lr": 0.1}}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    read, meta = read_checkpoint(tmp_path / "a.pth")
    assert read.keys() == {"a", "b"}
    assert torch.equal(read["a"], torch.ones(2))
    assert meta == ({} if container is None else {"epoch": 3})


def test_the_arguments_of_a_training_script_do_not_stand_in_the_way(tmp_path):
    args = argparse.Namespace(lr=0.1, output=Path("out"))
    torch.save({"model": {"a": torch.ones(2)}, "args": args}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth")[0].keys() == {"a"}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("call", ["system", "open", "exec", "touch"])
def test_code_in_a_checkpoint_does_not_run_and_is_named(tmp_path, call, legacy):
    mark = tmp_path / "it ran"
    code = {
        "system": Calls(os.system, f"touch '{mark}'"),
        "open": Calls(builtins.open, str(mark), "w"),
        "exec": Calls(exec, f"open({str(mark)!r}, 'w')"),
        "touch": Calls(Path.touch, mark),
    }[call]
    state = {"a": torch.ones(2)}
    torch.save({"state_dict": state, "x": code}, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"a\.pth.*(could run code|unrecognized function)") as error:
        read_checkpoint(tmp_path / "a.pth")
    one_sentence(error)
    assert not mark.exists()


def test_getattr_in_a_checkpoint_gives_nothing_that_can_be_called(tmp_path):
    harmless = {"state_dict": {"a": torch.ones(2)}, "x": Calls(getattr, "text", "upper")}
    torch.save(harmless, tmp_path / "a.pth")
    state, _ = read_checkpoint(tmp_path / "a.pth")
    assert state.keys() == {"a"}
    torch.save({"a": torch.ones(2), "x": Calls(Calls(getattr, "text", "upper"))}, tmp_path / "b.pth")
    with pytest.raises(ValueError, match="not a checkpoint"):
        read_checkpoint(tmp_path / "b.pth")


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"asks for torch\.nn\.modules\.linear\.Linear.*state dict alone"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_cut_at_any_place_is_refused_in_one_sentence(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    torch.save(tensors(), path) if suffix == "pth" else save_weights(tensors(), path, config=CONFIG)
    whole = path.read_bytes()
    for length in range(1, len(whole), max(len(whole) // 40, 1)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"damaged or not a") as error:
            read_checkpoint(path)
        one_sentence(error)


@pytest.mark.parametrize("name", ["a.pth", "a.bin", "a.pt", "a.safetensors"])
@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html>\n<p>Not found", b"\x00" * 64, b"version https://git-lfs\n"], ids=len
)
def test_another_kind_of_file_is_refused_in_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged or not a") as error:
        read_checkpoint(tmp_path / name)
    one_sentence(error)


def test_an_empty_file_a_folder_and_a_missing_file_are_told_apart(tmp_path):
    (tmp_path / "empty.pth").touch()
    with pytest.raises(ValueError, match="is empty"):
        read_checkpoint(tmp_path / "empty.pth")
    with pytest.raises(ValueError, match="is a folder"):
        read_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "none.pth")


@pytest.mark.parametrize("content", [[torch.ones(1)], {"epoch": 1}, {}, {"state_dict": {}}, torch.ones(1)], ids=repr)
def test_a_pickle_without_a_dictionary_of_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"holds (a|no)"):
        read_checkpoint(tmp_path / "a.pth")
