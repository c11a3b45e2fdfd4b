"""What `test` scores is what `predict` writes: whatever a set and a config do to images is in the header."""

import json
from dataclasses import fields

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

import densevit
from densevit.checkpoint import write_checkpoint
from densevit.data import create_dataset
from densevit.data.layouts.datalist import Decathlon
from densevit.data.layouts.folder import Folder
from densevit.inference import InferenceOptions
from densevit.predictor import Predictor
from densevit.train import test as score
from densevit.train.config import check_config
from densevit.train.tasks.segment import make_header

NARROW = dict(
    decoder="all_mlp", num_classes=3, backbone_options=dict(dims=(8, 16, 40, 64), depths=(1, 1, 1, 1)),
    decoder_options=dict(dim=16),
)  # fmt: skip
RGB = dict(spatial_dims=2, in_channels=3)
SEEN = {
    "mode": dict(mode="slide", roi_size=32),
    "roi_size": dict(mode="slide_gaussian", roi_size=32),
    "stride": dict(mode="slide", roi_size=32, stride=24),
    "batch_size": dict(mode="slide", roi_size=32, batch_size=3),
    "flips": dict(flips=(-1, -2)),
    "sides": dict(flips=(-1,), sides=((1, 2),)),
    "scales": dict(scales=(0.75, 1.25)),
    "divisor": dict(divisor=32),
    "base_size": dict(base_size=(64, 48)),
    "overlapping": dict(overlapping=True),
}
NORMALIZED = [
    dict(type="zscore"),
    dict(type="zscore", nonzero=True, percentiles=(2, 90)),
    dict(type="window", low=40.0, high=180.0),
    dict(type="ct", low=20.0, high=230.0, mean=100.0, std=30.0),
    dict(type="mean_std", mean=(90.0,), std=(40.0,)),
]
PHOTOS = {
    "exif": [dict(exif=each) for each in (None, "apply", "ignore")],
    "in_channels": [dict(in_channels=1), dict(in_channels=4)],
    "normalization": [
        *(dict(normalization=each, in_channels=1) for each in NORMALIZED),
        dict(normalization=dict(type="mean_std", mean=[30.0, 60.0, 90.0], std=[9.0, 8.0, 7.0])),
        dict(normalization=dict(type="zscore")),
    ],
}
SCANS = {
    "spacing": [dict(spacing=(3.0, 1.5, 2.0))],
    "normalization": [dict(normalization=each) for each in NORMALIZED],
    "slices": [
        dict(slices=dict(axis="coronal", neighbours=1)),
        dict(slices=dict(axis="axial"), spacing=(3.0, 2.0, 2.0)),
    ],
    "read": [dict(read=dict(max_bytes=2**20))],
}
OF_FILES = {"root", "split", "images", "labels", "split_file", "image_suffix", "label_suffix", "cache"}
OF_LABELS = {"classes", "color_map", "label_map", "reduce_zero_label", "ignore_index"}
OF_CASES = {"val_every", "fold", "group", "leave_out"}


def write_photos(root, *, in_channels=3, exif="none"):
    """Two photos; where `exif` is a mode of data sets they have a turn, and labels are drawn as that mode says."""
    rng, tags = np.random.default_rng(0), Image.Exif()
    tags[0x0112] = 6
    for i in range(2):
        pixels = rng.integers(0, 256, (5, 7, in_channels), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        label = (pixels[..., 0] // 86).astype(np.uint8)
        label = np.rot90(label, -1) if exif == "apply" else label
        for kind, array in (("images", pixels.squeeze()), ("labels", label)):
            path = root / kind / "val" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            said = {} if exif == "none" or (kind == "labels" and exif is not None) else dict(exif=tags)
            Image.fromarray(array).save(path, **said)
    (root / "classes.txt").write_text("a\nb\nc\n")


def config_of(dataset, model, inference):
    return check_config(
        dict(
            model=dict(NARROW, backbone="mit_b0", **model),
            loss=[dict(type="cross_entropy")],
            optimizer=dict(type="AdamW", lr=1e-3),
            schedule=dict(type="poly"),
            train_cfg=dict(max_iters=1),
            train_data=dict(
                dataset=dataset, augment=dict(crop_size=(16,) * model["spatial_dims"]), batch_size=1, num_workers=0
            ),
            val_data=dict(dataset=dataset, num_workers=0),
            inference=inference,
        )
    )


def write_model(path, options, inference=None):
    """Random weights with the header that training on such a set writes; the set and the config."""
    dataset = create_dataset(options)
    rank = dict(spatial_dims=dataset.spatial_dims, in_channels=dataset.in_channels)
    config = config_of(options, rank, inference or {})
    torch.manual_seed(0)
    model = densevit.create_segmentor("mit_b0", **NARROW, **rank)
    torch.nn.init.normal_(model.head.weight)
    write_checkpoint(path, model, make_header(config, dataset))
    return dataset, config


def compare(tmp_path, options, inference):
    """Labels of `test` and of a `Predictor` of the same weights, which knows nothing but the file and its header."""
    path = tmp_path / "weights.safetensors"
    dataset, config = write_model(path, options, inference)
    scored = []
    score(config, path, on_prediction=lambda sample, label: scored.append(label.numpy()), progress=False, device="cpu")
    predictor = Predictor(path)
    for name, label in zip(dataset.names, scored, strict=True):
        np.testing.assert_array_equal(predictor.label(name), label)
    assert len(scored) == 2
    assert len(np.unique(scored)) > 1


@pytest.mark.parametrize("key", PHOTOS)
def test_photos_are_predicted_as_they_are_tested_whatever_their_set_does(tmp_path, key):
    for i, options in enumerate(PHOTOS[key]):
        root = tmp_path / str(i)
        write_photos(root, in_channels=options.get("in_channels", 3), exif=options.get("exif", "none"))
        compare(tmp_path, dict(type="folder", root=str(root), split="val", **options), {})


@pytest.mark.parametrize("key", SEEN)
def test_photos_are_predicted_as_they_are_tested_however_they_are_seen(tmp_path, key):
    write_photos(tmp_path)
    compare(tmp_path, dict(type="folder", root=str(tmp_path), split="val"), SEEN[key])


def write_scans(root):
    rng, affine = np.random.default_rng(0), np.diag([2.0, 2.0, 3.0, 1.0])
    entries = []
    for i in range(2):
        image = rng.integers(0, 256, (4, 5, 3)).astype(np.int16).repeat(8, 0).repeat(8, 1).repeat(8, 2)
        entries.append(dict(image=f"./imagesTr/{i}.nii.gz", label=f"./labelsTr/{i}.nii.gz"))
        for name, values in (("imagesTr", image), ("labelsTr", (image // 86).astype(np.uint8))):
            (root / name).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(values, affine), root / name / f"{i}.nii.gz")
    content = dict(labels={"0": "a", "1": "b", "2": "c"}, modality={"0": "MRI"}, training=entries, validation=entries)
    (root / "dataset.json").write_text(json.dumps(dict(content, training=[])))


@pytest.mark.parametrize("key", SCANS)
def test_scans_are_predicted_as_they_are_tested_whatever_their_set_does(tmp_path, key):
    write_scans(tmp_path)
    for options in SCANS[key]:
        compare(tmp_path, dict(type="msd", root=str(tmp_path), split="val", **options), {})


@pytest.mark.parametrize("key", [key for key in SEEN if key != "base_size"])
def test_scans_are_predicted_as_they_are_tested_however_they_are_seen(tmp_path, key):
    write_scans(tmp_path)
    seen = {name: 16 if name == "roi_size" else 8 if name == "stride" else value for name, value in SEEN[key].items()}
    compare(tmp_path, dict(type="msd", root=str(tmp_path), split="val"), seen)


def test_every_option_of_sets_and_of_inference_is_compared():
    assert {field.name for field in fields(InferenceOptions)} == SEEN.keys()
    assert {field.name for field in fields(Folder)} - OF_FILES - OF_LABELS - OF_CASES == PHOTOS.keys()
    assert {field.name for field in fields(Decathlon)} - OF_FILES - OF_LABELS - OF_CASES == SCANS.keys()


DIFFERENT = {
    "normalization": (dict(normalization=dict(type="zscore")), "normalization .*'mean_std'.* but .*'zscore'"),
    "exif": (dict(exif="ignore"), "exif 'apply', but .* 'ignore'"),
}


@pytest.mark.parametrize(("options", "said"), DIFFERENT.values(), ids=DIFFERENT)
def test_photos_prepared_in_another_way_than_in_training_are_not_scored(tmp_path, options, said):
    write_photos(tmp_path)
    trained = dict(type="folder", root=str(tmp_path), split="val")
    write_model(tmp_path / "a.safetensors", trained)
    with pytest.raises(ValueError, match=rf"a\.safetensors was trained with {said}"):
        score(config_of(trained | options, RGB, {}), tmp_path / "a.safetensors", progress=False, device="cpu")


def test_scans_prepared_in_another_way_than_in_training_are_not_scored(tmp_path):
    write_scans(tmp_path)
    trained = dict(type="msd", root=str(tmp_path), split="val")
    write_model(tmp_path / "a.safetensors", trained)
    other = config_of(trained | dict(spacing=(3.0, 1.0, 2.0)), dict(spatial_dims=3, in_channels=1), {})
    with pytest.raises(ValueError, match=r"a\.safetensors was trained with spacing .3\.0, 2\.0, 2\.0., but .*1\.0"):
        score(other, tmp_path / "a.safetensors", progress=False, device="cpu")
