"""A run that begins with published weights keeps what they were and under which licence, and compares their images."""

from safetensors.torch import save

from densevit.checkpoint import Header, open_checkpoint, write_checkpoint
from densevit.normalization import MEAN_STD
from densevit.runs.run import open_runs
from densevit.segmentor import create_backbone, create_segmentor
from densevit.train import train
from densevit.train.folder import LOG
from densevit.train.origins import differing_normalization, name_origins
from densevit.weights import Origin, load_weights, tell_origins, to_theirs
from densevit.weights.published import HALF
from tests.local_hub import COMMIT

SHALLOW = dict(depths=(1, 1, 1, 1))
DESCRIBED = dict(backbone="mit_b0", decoder="all_mlp", num_classes=3, backbone_options=SHALLOW)


def begin(config, weights, folder, **dataset):
    model = config["model"] | dict(backbone_options=dict(**SHALLOW, weights=weights))
    data = config["train_data"]
    data = data | dict(dataset=data["dataset"] | dataset)
    short = dict(max_iters=1, val_interval=5)
    train(config | dict(model=model, train_data=data, train_cfg=short), work_dir=folder, progress=False)
    return folder


def test_a_run_keeps_the_chain_of_what_it_began_with(hub, config, tmp_path):
    theirs = to_theirs(create_backbone("mit_b0", **SHALLOW).state_dict(), "huggingface_segformer")
    hub.files["nvidia/mit-b0/model.safetensors"] = save({name: t.contiguous() for name, t in theirs.items()})
    first = begin(config, "nvidia/mit-b0", tmp_path / "first", normalization=HALF)
    [begun] = open_checkpoint(first).header.started_from
    assert begun["name"] == "nvidia/mit-b0"
    assert begun["revision"] == COMMIT
    assert begun["licence"] == "NVIDIA NSCL, non-commercial"
    assert begun["trained_on"] == "ImageNet-1k"
    assert begun["commercial"] is False
    log = (first / LOG).read_text()
    assert "does not permit commercial use" in log
    assert "nvidia/mit-b0 was trained on images normalised by dict(type='mean_std', mean=[123.675" in log
    assert "does not permit commercial use" in open_runs([first])[0].facts()["started from"]

    report = load_weights(create_backbone("mit_b0", **SHALLOW), first)  # what would begin with it
    assert [each.name for each in report.origin.chain()] == ["nvidia/mit-b0"]
    assert report.origin.commercial is False


def test_what_began_with_nothing_is_bound_by_nothing(tmp_path):
    model = create_segmentor(**DESCRIBED)
    write_checkpoint(tmp_path / "mine.safetensors", model, name_origins(Header(model=DESCRIBED), []))
    assert tell_origins(open_checkpoint(tmp_path / "mine.safetensors").header.started_from) == "nothing"
    assert load_weights(model, tmp_path / "mine.safetensors").origin.commercial is True


def test_normalization_is_compared_where_it_can_be():
    def told(theirs, ours):
        return differing_normalization(Origin(name="theirs", normalization=theirs), ours)

    assert told(MEAN_STD, dict(type="mean_std")) is None
    assert told(HALF, MEAN_STD).startswith("theirs was trained on images normalised by dict(type='mean_std', mean=[127")
    assert "by dict(type='zscore', nonzero=False)" in told(MEAN_STD, dict(type="zscore", percentiles=None))
    assert told(MEAN_STD, dict(type="mean_std", mean=[1.0], std=[1.0])) is None  # of another number of channels
    assert told(None, MEAN_STD) is None
