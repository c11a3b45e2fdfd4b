"""Weights that a config begins with: a file, or the keywords of `load_weights`; the log has the report."""

import pytest
import torch

import densevit
from densevit.train import train
from densevit.train.config import check_config
from densevit.train.folder import LOG
from densevit.train.tasks.segment import create_segment_model
from densevit.weights import save_weights
from tools.peers.common import randomize


@pytest.fixture
def others(tmp_path):
    """A whole model of two classes, as a file, and the model."""
    model = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=2, decoder_options=dict(dim=32))
    save_weights(randomize(model), tmp_path / "others.safetensors", config={})
    return str(tmp_path / "others.safetensors"), model


@pytest.mark.parametrize("key", ["load_from", "weights"])
def test_a_config_begins_with_weights_of_other_classes(key, others, config):
    path, model = others
    given = dict(path=path, new_head=True)
    config = (
        config | dict(load_from=given) if key == "load_from" else config | dict(model=config["model"] | {key: given})
    )
    started = create_segment_model(check_config(config)).segmentor
    assert torch.equal(started.decoder.fuse.weight, model.decoder.fuse.weight)
    assert started.head.weight.shape[0] == 3
    [(loaded, report)] = started.load_reports
    assert (loaded, report.fresh) == (path, ("head.weight", "head.bias"))


def test_the_log_of_a_run_holds_the_report_of_every_file_that_it_began_with(others, config, tmp_path):
    path, model = others
    save_weights(model.backbone, tmp_path / "backbone.safetensors", config={})
    inner = dict(weights=dict(path=str(tmp_path / "backbone.safetensors")))
    config = config | dict(load_from=dict(path=path, new_head=True))
    config["model"] = config["model"] | dict(backbone_options=inner)
    train(config | dict(train_cfg=dict(max_iters=1, val_interval=5)), work_dir=tmp_path / "run", progress=False)
    log = (tmp_path / "run" / LOG).read_text()
    assert f"weights of {tmp_path / 'backbone.safetensors'}: densevit: " in log
    assert f"weights of {path}: densevit: " in log
    assert "fresh       head.weight" in log


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("load_from", dict(path="a", newhead=True), r"unknown key 'load_from\.newhead'; did you mean new_head"),
        ("load_from", dict(new_head=True), r"load_from: needs one of the keys path .* and name"),
        ("load_from", dict(path="a", inflate="middle"), r"load_from.*inflate must be None, 'center' or 'mean'"),
        ("load_from", dict(path="a", strict=1), r"load_from\.strict must be True or False"),
        ("model", dict(weights=dict(path=3)), r"weights\.path must be text"),
        ("model", dict(backbone_options=dict(weights=dict(pth="a"))), r"backbone_options\.weights\.pth"),
    ],
)
def test_keywords_of_weights_are_checked_with_the_config(place, value, message, config):
    given = value if place == "load_from" else config["model"] | value
    with pytest.raises(ValueError, match=message):
        check_config(config | {place: given})
