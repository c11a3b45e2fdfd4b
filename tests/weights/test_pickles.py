"""Others' checkpoints: what frameworks leave beside weights does no harm, arrays load, and no code runs."""

import collections
import datetime
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
import torch

import densevit
from densevit.weights import describe, load_weights, read_checkpoint, to_ours, to_theirs
from tests.weights.common import backbone, equal
from tools import convert_weights

MVIT = dict(depths=(1, 2, 1, 1), dim=32)


@pytest.fixture
def cfg_node(monkeypatch):
    """yacs' class of configs, as far as pickles know it."""
    module = types.ModuleType("yacs.config")
    module.CfgNode = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    monkeypatch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", module)
    return module.CfgNode


def test_configs_dates_and_counters_in_the_meta_of_a_checkpoint_do_not_stand_in_its_way(tmp_path, cfg_node):
    state = {"a.weight": torch.rand(2, 3)}
    node = cfg_node(model=cfg_node(depth=3))
    node.frozen = True
    counts = collections.defaultdict(list, loss=[1.0])
    when = [datetime.datetime(2024, 1, 2), datetime.timedelta(seconds=3), datetime.date(2024, 1, 2)]
    beside = dict(cfg=node, counts=counts, when=when, kinds={int, "a"}, last=collections.deque([1, 2]))
    torch.save(dict(state_dict=state, meta=dict(time=when[0], counts=counts), **beside), tmp_path / "a.pth")
    read, meta = read_checkpoint(tmp_path / "a.pth")
    assert equal(read, state)
    assert meta["counts"] == dict(loss=[1.0])
    torch.save(dict(state_dict=collections.defaultdict(dict, state)), tmp_path / "b.pth")
    assert equal(read_checkpoint(tmp_path / "b.pth")[0], state)


def test_a_model_inside_one_of_lightning_loads(tmp_path):
    model, target = backbone(), backbone(seed=1)
    released = {f"model.{name}": tensor for name, tensor in to_theirs(model.state_dict(), "nvlabs").items()}
    torch.save({"state_dict": released, "pytorch-lightning_version": "2.1"}, tmp_path / "last.ckpt")
    assert load_weights(target, tmp_path / "last.ckpt").source == "nvlabs"
    assert equal(target, model)
    own = {f"model.backbone.{name}": tensor + 1 for name, tensor in model.state_dict().items()}
    torch.save(dict(state_dict=own), tmp_path / "last.ckpt")
    assert load_weights(target, tmp_path / "last.ckpt").complete


def detector(model, path, *, protocol=2):
    """The file that detectron2 writes of a model: names of a detector, numpy's arrays."""
    names = to_theirs(model.state_dict(), "detectron2").items()
    arrays = {f"backbone.bottom_up.{name}": tensor.numpy() for name, tensor in names}
    arrays["roi_heads.box_head.fc1.weight"] = np.zeros((2, 2), np.float32)
    content = {"model": arrays, "__author__": "MViT", "matching_heuristics": True, "count": np.float64(3)}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_released_pickles_of_detectron2_load(protocol, tmp_path):
    model, target = (backbone("mvit_v2_tiny", seed=seed, pyramid="windows", **MVIT) for seed in (0, 1))
    report = load_weights(target, detector(model, tmp_path / "model_final.pkl", protocol=protocol))
    assert (report.source, report.complete) == ("detectron2_mvit", True)
    assert equal(target, model)


def test_arrays_of_every_kind_and_order_are_read_with_their_values(tmp_path):
    arrays = {
        "a": np.arange(6, dtype=">f4").reshape(2, 3),
        "b": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "c": np.array(3, np.int64),
        "d": np.zeros((0, 4), np.float16),
        "e": np.array([True, False]),
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(arrays, protocol=2))
    read = read_checkpoint(tmp_path / "a.pkl")[0]
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name].numpy(), array)


def test_the_large_detector_which_grows_in_its_attention_is_recognised():
    with torch.device("meta"):
        model = densevit.create_backbone("mvit_v2_large", grow_in_mlp=False, pyramid="windows")
    theirs = to_theirs(model.state_dict(), "detectron2")
    found = describe(to_ours(theirs, "detectron2_mvit").state)
    assert (found.backbones, found.backbone_options) == (("mvit_v2_large",), dict(class_token=False, grow_in_mlp=False))


def test_the_large_detector_names_the_option_that_the_usual_large_model_lacks():
    with torch.device("meta"):
        detector = densevit.create_backbone("mvit_v2_large", grow_in_mlp=False, pyramid="windows")
        model = densevit.create_backbone("mvit_v2_large", pyramid="windows")
    theirs = to_theirs(detector.state_dict(), "detectron2")
    state = {f"backbone.bottom_up.{name}": torch.zeros(()).expand(t.shape) for name, t in theirs.items()}
    with pytest.raises(ValueError, match=r"backbone has grow_in_mlp=False, the model.s grow_in_mlp=True"):
        load_weights(model.to_empty(device="cpu"), "model_final.pkl", state=state)


class Call:
    """Asks for a call when it is read."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("function", [print, eval, exec, __import__, np.load, np.frombuffer, pickle.loads])
def test_a_plain_pickle_that_asks_for_anything_but_arrays_is_refused_with_the_name(function, tmp_path, capsys):
    content = dict(model={"a.weight": np.zeros(3, np.float32)}, more=Call(function, "1"))
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ValueError, match=rf"evil\.pkl was not loaded: it asks for \S*{function.__name__}, .* run code"):
        read_checkpoint(tmp_path / "evil.pkl")
    assert capsys.readouterr().out == ""


def test_an_array_that_says_more_than_it_holds_takes_no_memory(tmp_path):
    text = pickle.dumps({"a": np.zeros(3, np.float32)}, protocol=2)
    assert text.count(b"K\x03\x85") == 1  # the shape (3,)
    (tmp_path / "a.pkl").write_bytes(text.replace(b"K\x03\x85", b"\x8a\x06\0\0\0\0\0\x10\x85"))
    with pytest.raises(ValueError, match="damaged or not a checkpoint: an array of"):
        read_checkpoint(tmp_path / "a.pkl")
    (tmp_path / "b.pkl").write_bytes(b"\x80\x02Nr\xff\xff\xff\xff.")  # the last entry of a table of 2 ** 32
    with pytest.raises(ValueError, match="not a dictionary of tensors"):
        read_checkpoint(tmp_path / "b.pkl")


def test_a_file_that_would_grow_many_times_is_refused_before_it_does(tmp_path):
    torch.save({"a.weight": torch.zeros(2**22)}, tmp_path / "plain.pth")
    assert read_checkpoint(tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as whole, zipfile.ZipFile(tmp_path / "bomb.pth", "w") as bomb:
        for part in whole.infolist():
            bomb.writestr(part.filename, whole.read(part), zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"bomb\.pth was not loaded: its .* would grow to 16\.8 MB"):
        read_checkpoint(tmp_path / "bomb.pth")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("\n<!DOCTYPE html><html>Log in</html>", "a web page"),
        ("<html><head>", "a web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 14\n", "run `git lfs pull`"),
        ('{"error": "not found"}', "a server's message"),
    ],
)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.pkl"])
def test_what_a_download_leaves_in_the_place_of_weights_is_told(name, content, words, tmp_path, capsys):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=words):
        load_weights(backbone(), tmp_path / name)
    assert convert_weights.main([str(tmp_path / name), str(tmp_path / "out.safetensors")]) == 2
    assert words in capsys.readouterr().err
