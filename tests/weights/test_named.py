"""Published weights by name, fetched by the real clients from a hub on this machine; each fault is one sentence."""

import logging
import os
import socket
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save

import densevit
from densevit.backbones import BACKBONES
from densevit.decoders import DECODERS
from densevit.segmentor import create_backbone
from densevit.weights import LoadOptions, fetch_weights, known_sources, known_weights, load_weights, save_weights
from densevit.weights.published import COMMERCIAL
from tests.local_hub import COMMIT
from tests.weights.common import backbone, equal, release, segformer

CITYSCAPES = "nvidia/segformer-b0-finetuned-cityscapes-1024-1024"
SHALLOW = dict(depths=(1, 1, 1, 1))  # models that are made at once, in the place of those that the names stand for


def publish(hub, model, source, name, *, file="model.safetensors"):
    """A file of a model under its publisher's names for tensors."""
    hub.files[f"{name}/{file}"] = save({key: value.contiguous() for key, value in release(model, source).items()})


def sentence(failing, error=ValueError):
    with pytest.raises(error) as caught:
        failing()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_each_record_is_of_a_model_that_can_be_made():
    files = [file for source in known_sources().values() for file in source.files]
    assert len(files) == len(known_weights()) > 300  # no name twice
    for file in known_weights().values():
        takes = {"spatial_dims", "in_channels", *BACKBONES.parameters(file.backbone)}
        assert set(file.options) <= takes, file.name
        assert file.decoder is None or set(file.decoder_options) <= set(DECODERS.parameters(file.decoder)), file.name
        assert file.backbone in (known_sources()[file.source].variants or (file.backbone,)), file.name
        assert file.licence in COMMERCIAL, file.name
        assert file.started_from is None or file.started_from in known_weights(), file.name
        assert (file.decoder is None) or file.num_classes, file.name


def test_a_short_name_means_one_file_of_a_model():
    asked = [(file.short, file.model) for file in known_weights().values() if file.short]
    assert len(asked) == len(set(asked))


def test_each_release_at_the_hub_is_fetched(hub):
    at_hub = [[file.name for file in source.files if file.address is None] for source in known_sources().values()]
    records = {name: known_weights()[name] for names in at_hub for name in [*names[:1], *names[-1:]]}
    for n, (name, file) in enumerate(records.items()):
        hub.files[f"{name}/{file.files[n % len(file.files)]}"] = name.encode()  # each of the files that are looked for
        hub.revisions.add(file.revision or "main")
        fetched = fetch_weights(name)
        assert fetched.path.read_bytes() == name.encode()
        assert fetched.origin.revision == (file.revision or COMMIT)


def test_each_record_at_an_address_is_fetched_and_compared_with_its_digest(hub):
    records = {name: file for name, file in known_weights().items() if file.address is not None}
    for name, file in records.items():
        hub.files[file.address.removeprefix("https://")] = name.encode()
        if file.sha256 is None:
            assert fetch_weights(name).path.read_bytes() == name.encode()
        else:
            assert f"does not begin with {file.sha256}" in sentence(lambda name=name: fetch_weights(name))
    assert {f"https://{each}" for each in hub.asked} == {file.address for file in records.values()}


def test_a_whole_model_by_the_name_of_its_repository(hub):
    published = segformer(seed=1, backbone_options=SHALLOW)
    publish(hub, published, "huggingface_segformer", CITYSCAPES)
    ours = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=19, weights=CITYSCAPES, backbone_options=SHALLOW)
    assert equal(ours, published)
    again = densevit.create_segmentor(
        "mit_b0", "all_mlp", num_classes=19, weights="cityscapes", backbone_options=SHALLOW
    )
    assert equal(again, published)


def test_imagenet_is_the_file_of_each_backbone(hub):
    published = backbone("pvt_v2_b0", seed=2, **SHALLOW)
    publish(hub, published, "timm_pvt_v2", "timm/pvt_v2_b0.in1k")
    assert equal(create_backbone("pvt_v2_b0", weights="imagenet", **SHALLOW), published)
    assert equal(create_backbone("pvt_v2_b0", weights="pvt_v2_b0.in1k", **SHALLOW), published)  # as timm calls it
    whole = densevit.create_segmentor(
        "pvt_v2_b0",
        "fpn",
        num_classes=3,
        backbone_options=dict(**SHALLOW, weights=dict(name="imagenet", commercial=True)),
    )
    assert equal(whole.backbone, published)


def test_a_file_at_an_address_is_loaded(hub, tmp_path):
    published = backbone("pvt_v1_tiny", seed=3, **SHALLOW)
    torch.save(release(published, "whai362_pvt_v1"), tmp_path / "made.pth")
    address = known_weights()["pvt_tiny.pth"].address
    hub.files[address.removeprefix("https://")] = (tmp_path / "made.pth").read_bytes()
    assert equal(create_backbone("pvt_v1_tiny", weights="pvt_tiny.pth", **SHALLOW), published)
    hub.files.clear()  # then it lies in torch's cache
    assert fetch_weights("pvt_tiny.pth").path.parent.parent == tmp_path / "torch"


def test_what_exists_is_a_path(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_weights(backbone(**SHALLOW), tmp_path / "imagenet", config={})
    (tmp_path / "imagenet").rename(tmp_path / "imagenet.safetensors")
    (tmp_path / "nvidia").mkdir()
    (tmp_path / "imagenet.safetensors").rename(tmp_path / "nvidia" / "mit-b0")
    with pytest.raises(ValueError, match="nvidia/mit-b0"):  # read as what it is: a file without a known ending
        load_weights(backbone(), "nvidia/mit-b0")
    assert hub.asked == []
    with pytest.raises(ValueError, match="no repository 'nvidia/mit-b0'"):
        create_backbone("mit_b0", weights=dict(name="nvidia/mit-b0"))  # no path is meant


def test_any_repository_of_the_hub_by_its_address(hub):
    published = segformer(seed=5, backbone_options=SHALLOW)
    publish(hub, published, "huggingface_segformer", "someone/street", file="pytorch_model.safetensors")
    ours = densevit.create_segmentor(
        "mit_b0",
        "all_mlp",
        num_classes=19,
        backbone_options=SHALLOW,
        weights=dict(name=f"hf:someone/street@{COMMIT}", file="pytorch_model.safetensors"),
    )
    assert equal(ours, published)
    assert hub.asked[-1] == f"someone/street/pytorch_model.safetensors@{COMMIT}"


def test_the_nearest_names_are_told():
    text = sentence(lambda: create_backbone("mit_b0", weights="nvidia/mit-b00"), FileNotFoundError)
    assert "nvidia/mit-b00" in text
    assert "did you mean nvidia/mit-b0" in text
    text = sentence(lambda: create_backbone("mit_b0", weights="someone/model"), FileNotFoundError)
    assert "hf:someone/model" in text


@pytest.mark.parametrize(
    ("backbone", "decoder", "told"),
    [
        (None, None, "full name"),
        ("mit_b0", "all_mlp", "backbone_options=dict(weights='imagenet')"),
        ("dinov2_small", None, "facebook/dinov2-small"),
        ("ceit_tiny", None, "none are known"),
    ],
)
def test_a_short_name_without_a_file_is_told(backbone, decoder, told):
    assert told in sentence(lambda: fetch_weights("imagenet", backbone=backbone, decoder=decoder))


def test_faults_of_the_hub_are_sentences(hub, monkeypatch):
    from huggingface_hub import constants

    name = "nvidia/mit-b0"
    assert f"no repository {name!r}" in sentence(lambda: fetch_weights(name))
    hub.files[f"{name}/config.json"] = b"{}"
    assert "holds no model.safetensors or pytorch_model.bin" in sentence(lambda: fetch_weights(name))
    hub.files[f"{name}/model.safetensors"] = b"weights"
    assert "no revision 'v7'" in sentence(lambda: fetch_weights(name, revision="v7"))
    assert "not the file that was published" in sentence(lambda: fetch_weights(name, sha256="00ab"))
    hub.gated.add("nvidia/mit-b1")
    text = sentence(lambda: fetch_weights("nvidia/mit-b1"))
    assert f"accept them on {hub.endpoint}/nvidia/mit-b1" in text
    hub.broken.add("nvidia/mit-b2")
    assert "an error (400)" in sentence(lambda: fetch_weights("nvidia/mit-b2"), ConnectionError)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between the tries of the client
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        template = f"http://127.0.0.1:{closed.getsockname()[1]}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        assert "could not be reached" in sentence(lambda: fetch_weights("nvidia/mit-b3"), ConnectionError)
        assert fetch_weights(name).path.read_bytes() == b"weights"  # from the cache
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in sentence(lambda: fetch_weights("nvidia/mit-b3"), ConnectionError)
    assert fetch_weights(name).path.read_bytes() == b"weights"


def test_faults_of_addresses_are_sentences(hub):
    assert "no file at https://" in sentence(lambda: fetch_weights("pvt_tiny.pth"))
    assert "for repositories of the hub" in sentence(lambda: fetch_weights("pvt_tiny.pth", revision="main"))


def test_the_command_reads_the_variables_of_the_clients(hub, tmp_path):
    hub.files["nvidia/mit-b0/pytorch_model.bin"] = b"weights"
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "densevit", "weights", "fetch", "nvidia/mit-b0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "home"))
    assert "does not permit commercial use" in done.stderr


def test_licences_are_said_when_weights_are_loaded(hub, caplog):
    publish(hub, backbone("pvt_v2_b0", **SHALLOW), "timm_pvt_v2", "timm/pvt_v2_b0.in1k")
    publish(hub, segformer(backbone_options=SHALLOW), "huggingface_segformer", CITYSCAPES)
    caplog.set_level(logging.INFO, logger="densevit")
    report = load_weights(backbone("pvt_v2_b0", **SHALLOW), "timm/pvt_v2_b0.in1k")
    assert report.origin.licence == "Apache-2.0"
    assert report.origin.commercial is True
    load_weights(segformer(backbone_options=SHALLOW), CITYSCAPES)
    said = {record.args[0]: record for record in caplog.records if "commercial use" in record.getMessage()}
    assert "licence Apache-2.0, permits commercial use" in said["timm/pvt_v2_b0.in1k"].getMessage()
    assert said["timm/pvt_v2_b0.in1k"].levelno == logging.INFO
    assert "NVIDIA NSCL, non-commercial, does not permit commercial use" in said[CITYSCAPES].getMessage()
    assert said[CITYSCAPES].levelno == logging.WARNING


def test_only_what_is_permitted_is_listed_and_loaded_for_commercial_use(hub, tmp_path):
    permitted = densevit.list_weights(commercial=True)
    assert densevit.list_weights("mit_b2", commercial=True) == []
    assert "timm/pvt_v2_b2.in1k" in permitted
    assert not {name for name in permitted if name.startswith(("nvidia/", "facebook/timesformer"))}
    asked = dict(name="cityscapes", commercial=True)
    text = sentence(lambda: densevit.create_segmentor("mit_b0", "all_mlp", num_classes=19, weights=asked))
    assert "not allowed with commercial=True" in text
    assert hub.asked == []  # before anything is fetched
    started = "segformer_mit-b0_8xb1-160k_cityscapes-1024x1024"  # licence Apache-2.0, from weights that forbid it
    assert "started from nvidia/mit-b0" in sentence(lambda: fetch_weights(started, commercial=True))
    path = tmp_path / "mine.safetensors"
    save_weights(backbone(**SHALLOW), path, config={})  # of which nothing is known
    asked = dict(path=str(path), commercial=True)
    assert "no licence that is known here" in sentence(lambda: create_backbone("mit_b0", weights=asked))


def test_a_config_asks_for_weights_by_path_or_by_name():
    assert LoadOptions(name="imagenet", commercial=True).path is None
    with pytest.raises(ValueError, match="one of the keys path"):
        LoadOptions(name="imagenet", path="mit_b0.pth")
    with pytest.raises(ValueError, match="path of a file or the name"):
        create_backbone("mit_b0", weights=dict(strict=False))


def test_weights_are_listed_by_model():
    assert "nvidia/mit-b2" in densevit.list_weights("mit_b2")
    assert densevit.list_weights("mit_b2", decoder="all_mlp")[0] == "nvidia/segformer-b2-finetuned-ade-512-512"
    with pytest.raises(KeyError, match="did you mean mit_b"):
        densevit.list_weights("mit_b9")
