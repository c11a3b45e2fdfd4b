"""No header of a weights file ends in a traceback: each key at each wrong value, the file refused by one sentence."""

import copy
import json
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from monai.networks import nets

from densevit import create_segmentor
from densevit.checkpoint import Checkpoint, Header, build_model

PATH = Path("weights.safetensors")
VALUES = (
    *(None, True, -1, 0, 3, 10**9, 2**70, -2.5, float("inf"), float("nan"), "x", ""),
    *([], [0, 0, 0], [1], ["a"], [[1]], [None], {}, {"a": 1}),
)
MODEL = dict(
    backbone="mit_b0",
    decoder="all_mlp",
    num_classes=3,
    backbone_options=dict(dims=[8, 16, 20, 16], depths=[1, 1, 1, 1], drop_path=0.1),
    decoder_options=dict(dim=16),
)
PICTURES = dict(
    header_version=2,
    model=dict(MODEL, spatial_dims=2, in_channels=3),
    classes=["a", "b", "c"],
    palette=[[1, 2, 3], [4, 5, 6], "7,8,9"],
    ignore_index=255,
    inference=dict(
        mode="slide", roi_size=[32, 32], stride=16, batch_size=1, flips=[-1], scales=[1.0], divisor=32, base_size=[8, 8]
    ),
    normalization=dict(type="mean_std", mean=[1.0, 2.0, 3.0], std=[1.0, 2.0, 3.0]),
    training=dict(iteration=3, scores=dict(mIoU=3.0, classes=dict(a=dict(IoU=1.0)))),
    version="0.1.0",
)
SCANS = dict(
    model=dict(MODEL, spatial_dims=3, in_channels=1),
    spacing=[2.0, 1.0, 1.0],
    modality=["CT"],
    label_values=[0, 1, 5],
    normalization=dict(type="ct", low=-100.0, high=200.0, mean=3.0, std=5.0),
)
SLICES = dict(
    model=dict(MODEL, in_channels=3), slices=dict(axis="axial", neighbours=1), normalization=dict(type="zscore")
)
IMPORTED = dict(
    model=dict(MODEL, spatial_dims=3, in_channels=1),
    scans=dict(axes="file", order=[1, 0, 2], spacing=[None, 1.0, 1.0], crop="nonzero", masked=[True], uneven=3.0),
)
OLD = dict(
    model=MODEL,
    base_size=[64, 96],
    inference=dict(mode="whole"),
    normalization=dict(mean=[1.0, 2.0, 3.0], std=[1.0, 2.0, 3.0]),
)


def keys(thing, at=()):
    """The places of all values in a header: ("model", "num_classes"), ..."""
    yield at
    inner = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ()
    for key, value in inner:
        yield from keys(value, (*at, key))


def changed(header, at, value):
    if not at:
        return value
    header = copy.deepcopy(header)
    inner = header
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return header


def refusal(work):
    """The sentence with which a header was refused, or None."""
    try:
        work()
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    "header",
    [PICTURES, SCANS, SLICES, IMPORTED, OLD],
    ids=["pictures", "scans", "slices", "imported", "old"],
)
def test_every_key_at_every_wrong_value_is_read_or_refused_by_one_sentence(header):
    assert refusal(lambda: Header.read(header, PATH)) is None
    refused = []
    for at in keys(header):
        for value in VALUES:
            said = refusal(lambda at=at, value=value: Header.read(changed(header, at, value), PATH))
            assert said is None or ("weights.safetensors" in said and "\n" not in said), (at, value, said)
            if at[:2] not in (("model", "backbone_options"), ("model", "decoder_options")):  # which the builders know
                refused.append(said is not None)
    assert sum(refused) > 0.7 * len(refused)


@pytest.mark.parametrize("name", [field.name for field in fields(Header) if field.name != "more"])
def test_every_key_of_another_type_is_refused_with_its_name(name):
    kind = next(field.default for field in fields(Header) if field.name == name)
    wrong = [3.5, {"no such": 1}] if kind is not MISSING and isinstance(kind, str) else [3.5, "no such"]
    for value in wrong:
        said = refusal(lambda value=value: Header.read({**PICTURES, name: value}, PATH))
        assert said is not None
        assert name in said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(label_values=[0, 0, 0]), "label_values must hold another value for each class"),
        (dict(label_values=[0, 1, 2**40]), "label_values must be from 0 to 2147483647"),
        (dict(label_values=[0, 1]), "label_values has 2 entries, for 3 outputs of the model"),
        (dict(label_values=[0, 1, True]), "label_values.2 must be a whole number"),
        (dict(spacing=[1.0, 1.0, float("inf")]), "spacing must be from 1e-06 to 10000"),
        (dict(spacing=[1.0, 1.0, 1e300]), "spacing must be from 1e-06 to 10000"),
        (dict(spacing=[1.0, 1.0, float("nan")]), "spacing.2 must be a number"),
        (dict(classes="abc"), "classes must be a list of texts"),
        (dict(classes=["a", "b", ""]), "classes must be a list of names"),
        (dict(classes=["a", "b", "a"]), "the classes name a more than once"),
        (dict(classes=[]), "classes must be a list of names"),
        (dict(palette=["#12", "#12", "#12"]), "palette: '#12' is not a colour"),
        (dict(ignore_index=2**40), "ignore_index must be from"),
        (dict(inference=dict(divisor=-16)), "inference.divisor must be from 1 to 65536"),
        (dict(inference=dict(divisor=10**9)), "inference.divisor must be from 1 to 65536"),
        (dict(inference=dict(scales=[1e9])), "inference.scales must be positive factors of the image size, got"),
        (
            dict(normalization=dict(type="ct", low=0, high=1, mean=0, std=-1)),
            "normalization: mean must be finite and std",
        ),
        (dict(normalization=dict(type="window", low=1, high=1)), "normalization: low must lie below high"),
        (
            dict(normalization=dict(type="mean_std", mean=[1, 2], std=[1, 2])),
            "normalization has 2 entries, for 1 channels of its images",
        ),
        (dict(training=dict(scores=[1])), "training.scores must be a dict"),
        (dict(header_version="2"), "header_version must be a whole number from 1"),
        (dict(model=dict(MODEL, num_classes=2**40)), "model.num_classes must be from 1 to 65536"),
        (dict(model=dict(MODEL, spatial_dims=4)), "model.spatial_dims must be from 2 to 3"),
        (dict(model=dict(MODEL, in_channels=0)), "model.in_channels must be from 1 to 65536"),
        (dict(model=dict(MODEL, num_class=3)), "unknown key 'model.num_class'; did you mean num_classes"),
    ],
    ids=str,
)
def test_nonsense_is_refused_with_its_key(change, sentence):
    said = refusal(lambda: Header.read({**SCANS, **change}, PATH))
    assert said is not None
    assert sentence in said


def test_every_option_of_a_model_at_every_wrong_value_is_built_or_refused_by_one_sentence():
    state, header = create_segmentor(**PICTURES["model"]).state_dict(), Header(model=dict(PICTURES["model"]))
    options = [at for at in keys(PICTURES["model"]) if "_options" in str(at[:1]) and at[-1] not in (1, 2, 3)]
    for at in options:
        for value in (None, True, -1, 10**9, -(10**9), "x", [0, 0, 0], {"a": 1}):
            header.model.clear()
            header.model.update(changed(PICTURES["model"], at, value))
            said = refusal(lambda: build_model(Checkpoint(header, state, PATH)))
            assert said is None or ("weights.safetensors" in said and "\n" not in said), (at, value, said)


def open_as(model):
    return Checkpoint(Header(model=model), {}, PATH)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (dict(init_filters=8, divisor=-16), "divisor must be at least 1 on every axis, got -16"),
        (dict(init_filters=10**9), "model.backbone_options.init_filters is 1000000000, and nothing among its weights"),
        (dict(init_filters="x"), "describes a model that cannot be built: "),
        (dict(no_such=3), "describes a model that cannot be built: .*no_such"),
    ],
)
def test_a_network_of_monai_with_options_of_nonsense_is_one_sentence(options, sentence):
    model = dict(backbone="monai.SegResNet", decoder=None, num_classes=2, in_channels=1, spatial_dims=3)
    with pytest.raises(ValueError, match=sentence):
        build_model(open_as({**model, "backbone_options": options}))


def test_building_a_model_from_a_header_asks_nobody_for_weights(monkeypatch):
    seen = {}

    def build(self, **options):
        seen.update(options)
        raise ValueError("seen enough")

    monkeypatch.setattr(nets.FlexibleUNet, "__init__", build)
    for key in ("pretrained", "weights", "init_cfg"):
        options = {"backbone": "efficientnet-b0", key: True}
        model = dict(backbone="monai.FlexibleUNet", decoder=None, num_classes=2, backbone_options=options)
        with pytest.raises(ValueError, match="seen enough"):
            build_model(open_as(json.loads(json.dumps(model))))
    assert seen["backbone"] == "efficientnet-b0"
    assert not {"pretrained", "weights", "init_cfg"} & seen.keys()
