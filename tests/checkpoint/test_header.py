"""What a checkpoint says about itself: one header for pictures and volumes."""

import json
from pathlib import Path

import pytest

import densevit
from densevit.checkpoint import Header
from densevit.inference import InferenceOptions

PATH = Path("weights.safetensors")
PICTURES = dict(backbone="mit_b0", decoder="all_mlp", num_classes=2)
VOLUMES = dict(PICTURES, spatial_dims=3, in_channels=1)


@pytest.mark.parametrize(
    "said",
    [
        dict(model=PICTURES),
        dict(model=PICTURES, classes=("a", "b"), palette=((1, 2, 3), (4, 5, 6)), ignore_index=0),
        dict(model=PICTURES, inference=InferenceOptions(mode="slide", roi_size=(8, 8), base_size=(64, 96))),
        dict(model=VOLUMES, spacing=(2.0, 1.5, 1.5), label_values=(0, 7), training=dict(iteration=3)),
        dict(model=dict(PICTURES, in_channels=3), slices=dict(axis="coronal", neighbours=1), spacing=(1.0, 1.0, 1.0)),
        dict(model=PICTURES, converted=dict(source="mmseg")),
        dict(model=VOLUMES, scans=dict(order=(2, 0, 1), spacing=(None, 1.0, 1.0), masked=(True,), uneven=3.0)),
    ],
    ids=lambda said: "-".join(said),
)
def test_a_header_comes_back_from_json_as_it_was(said):
    header = Header.read(said, PATH)
    written = json.loads(json.dumps(header.as_dict()))
    again = Header.read(written, PATH)
    assert json.loads(json.dumps(again.as_dict())) == written
    assert (again.model, again.inference, again.slices, again.scans, again.more) == (
        header.model, header.inference, header.slices, header.scans, header.more
    )  # fmt: skip


def test_what_a_header_does_not_say_has_its_usual_value():
    pictures, volumes = (Header.read(dict(model=model), PATH) for model in (PICTURES, VOLUMES))
    assert pictures.classes == volumes.classes == ("0", "1")
    assert pictures.inference == InferenceOptions()
    assert (pictures.normalization["type"], volumes.normalization["type"]) == ("mean_std", "zscore")
    assert (pictures.image_dims, volumes.image_dims) == (2, 3)
    assert pictures.values.tolist() == [0, 1]


def test_a_z_score_of_before_was_clipped_and_one_of_today_says_what_it_is():
    for said in (dict(normalization=dict(type="zscore")), {}):
        assert Header.read(dict(model=VOLUMES, **said), PATH).normalization["percentiles"] == [0.5, 99.5]
    today = Header(model=VOLUMES, normalization=dict(type="zscore"))
    assert today.normalization == dict(type="zscore", percentiles=None, nonzero=False)
    again = Header.read(json.loads(json.dumps(today.as_dict())), PATH)
    assert again.normalization == today.normalization


def test_a_header_knows_what_its_scans_must_be_from_training_or_from_their_numbers():
    window = dict(type="window", low=-175, high=250)
    assert Header(model=VOLUMES).modalities == ("",)
    assert Header(model=VOLUMES, normalization=window).modalities == ("CT",)
    assert Header(model=VOLUMES, modality=("MR",)).modalities == ("MR",)
    assert Header.read(json.loads(json.dumps(Header(model=VOLUMES, modality=("MR",)).as_dict())), PATH).modality
    with pytest.raises(ValueError, match="modality has 2 entries, for 1 channels of its images"):
        Header(model=VOLUMES, modality=("CT", "PT"))


def test_a_network_of_pictures_that_sees_slices_takes_volumes_of_fewer_channels():
    header = Header.read(dict(model=dict(PICTURES, in_channels=6), slices=dict(axis=2, neighbours=1)), PATH)
    assert (header.spatial_dims, header.image_dims) == (2, 3)
    assert (header.in_channels, header.image_channels, header.slices.dim) == (6, 2, 2)
    with pytest.raises(ValueError, match="takes 4 channels, which are not those of 3 slices"):
        Header.read(dict(model=dict(PICTURES, in_channels=4), slices=dict(neighbours=1)), PATH)


def test_a_model_made_here_has_a_header_too():
    model = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=4, in_channels=5)
    header = Header.of_model(model, classes=["a", "b", "c", "d"])
    assert (header.num_classes, header.spatial_dims, header.in_channels) == (4, 2, 5)
    assert header.classes == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (dict(header_version=3, version="9.0"), "was written by densevit 9.0, a newer one; install that"),
        (dict(spacing=[1.0, 1.0, 1.0]), "spacing has 3 entries, for 2 axes of its images"),
        (dict(label_values=[0, -1]), "label_values must be from 0 to 2147483647"),
        (dict(scans=dict(crop="nonzero")), "scans are volumes, and hold the spacing at which these are seen"),
        (dict(slices=dict(axis="oblique")), "slices.axis must be a whole number or 'axial' or 'coronal' or 'sagittal'"),
        (dict(slices=dict(axis=3)), "slices.axis must be from 0 to 2, got 3"),
        (dict(inference=dict(mode="slide", roi_size=[8, 8, 8])), "roi_size must be one number for each of 2 axes"),
    ],
    ids=str,
)
def test_what_cannot_be_right_is_told_with_the_file(said, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        Header.read(dict(model=PICTURES, **said), PATH)
    assert "weights.safetensors" in str(caught.value)
