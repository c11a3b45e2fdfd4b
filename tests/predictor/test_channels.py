"""One predictor for pictures of any channels, for scans, and for scans slice by slice; of a file or of a model."""

import json

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

import densevit
from densevit.checkpoint import Header, write_checkpoint
from densevit.cli import main
from densevit.inference import InferenceOptions, SliceOptions
from densevit.predictor import Predictor
from densevit.volumes.volume import open_volume
from tests.predictor.common import make_photo, read, save_photo
from tests.predictor.scans import save_scan


def make_model(in_channels, *, spatial_dims=2, num_classes=3):
    torch.manual_seed(0)
    description = dict(
        backbone="mit_b0", decoder="all_mlp", num_classes=num_classes, spatial_dims=spatial_dims,
        in_channels=in_channels, backbone_options=dict(dims=(8, 16, 40, 64), depths=(1, 1, 1, 1)),
        decoder_options=dict(dim=16),
    )  # fmt: skip
    model = densevit.create_segmentor(**description)
    torch.nn.init.normal_(model.head.weight)
    return model, description


@pytest.mark.parametrize("channels", [1, 4, 10])
def test_pictures_of_any_channels_are_predicted_from_the_command_line_as_in_python(tmp_path, channels):
    model, description = make_model(channels)
    write_checkpoint(tmp_path / "weights.safetensors", model, Header(model=description))
    pixels = np.random.default_rng(0).integers(0, 4000, (40, 56, channels), np.uint16)
    path = tmp_path / "in" / ("band.png" if channels == 1 else "bands.npy")
    path.parent.mkdir()
    Image.fromarray(pixels[..., 0]).save(path) if channels == 1 else np.save(path, pixels)
    command = [
        "predict",
        str(tmp_path / "weights.safetensors"),
        str(path.parent),
        "-o",
        str(tmp_path / "out"),
        "--quiet",
    ]
    assert main([*command, "--format", "train_ids", "overlay"]) == 0
    predictor = Predictor(model)
    label = predictor(pixels).label
    assert len(np.unique(label)) > 1
    assert np.array_equal(read(tmp_path / "out" / "train_ids" / f"{path.stem}.png"), label)
    assert read(tmp_path / "out" / "overlay" / f"{path.stem}.png").shape == (40, 56, 3)
    assert np.array_equal(predictor.label(torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.int32))), label)
    with pytest.raises(ValueError, match=f"one path for each of {channels} channels, or an array"):
        predictor(np.zeros((8, 8, channels + 1), np.uint8))


def test_rgba_is_read_as_four_channels_where_the_model_takes_four(tmp_path):
    pixels = np.dstack([make_photo(), np.random.default_rng(0).integers(0, 256, (33, 48), np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "a.png")
    model, _ = make_model(4)
    assert np.array_equal(Predictor(model).label(tmp_path / "a.png"), Predictor(model).label(pixels))


def test_one_file_a_channel_is_a_picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (33, 48, 2), np.uint8)
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for i, path in enumerate(paths):
        Image.fromarray(pixels[..., i]).save(path)
    predictor = Predictor(make_model(2)[0])
    assert np.array_equal(predictor.label(paths), predictor.label(pixels))


def test_a_model_and_its_header_predict_what_their_checkpoint_does(tmp_path):
    model, description = make_model(3)
    header = Header(
        model=description, classes=("sky", "road", "car"), inference=InferenceOptions(mode="slide", roi_size=32)
    )
    write_checkpoint(tmp_path / "weights.safetensors", model, header)
    photo = make_photo((40, 56))
    ours, stored = Predictor(model, header), Predictor(tmp_path / "weights.safetensors")
    assert ours.classes == stored.classes == ("sky", "road", "car")
    assert np.array_equal(ours(photo).label, stored(photo).label)
    assert torch.equal(ours(photo).logits, stored(photo).logits)


@pytest.mark.parametrize("slices", [SliceOptions(), SliceOptions(axis="sagittal", neighbours=1)], ids=str)
def test_a_model_of_pictures_predicts_a_scan_slice_by_slice_on_the_scans_own_grid(tmp_path, slices):
    model, description = make_model(slices.count)
    header = Header(model=description, slices=slices, spacing=(2.5, 2.0, 1.6), label_values=(0, 2, 7))
    write_checkpoint(tmp_path / "weights.safetensors", model, header)
    scan, out = save_scan(tmp_path / "scan.nii.gz"), tmp_path / "out"
    command = ["predict", str(tmp_path / "weights.safetensors"), str(scan), "-o", str(out), "--quiet"]
    assert main([*command, "--mode", "slide", "--roi-size", "16"]) == 0
    mask, source = nibabel.load(out / "scan.nii.gz"), nibabel.load(scan)
    assert mask.shape == source.shape
    np.testing.assert_allclose(mask.affine, source.affine, atol=1e-6)
    assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 2, 7}
    assert len(np.unique(np.asarray(mask.dataobj))) > 1
    label = Predictor(model, header, mode="slide", roi_size=16).label(scan)
    assert np.array_equal(np.asarray(mask.dataobj), open_volume(scan).on_own_axes(label))


def test_slices_alone_are_predicted_as_the_pictures_that_they_are():
    model, description = make_model(1)
    normalization = dict(type="window", low=0.0, high=1.0)
    volume = torch.rand(1, 5, 40, 36, generator=torch.Generator().manual_seed(0))
    label = Predictor(model, Header(model=description, slices=SliceOptions(), normalization=normalization))(
        volume
    ).label
    pictures = Predictor(model, Header(model=description, normalization=normalization))
    for i in range(5):
        assert np.array_equal(label[i], pictures.label(volume[:, i]))


def test_a_mode_means_the_same_for_scans_as_for_pictures(tmp_path):
    model, description = make_model(1, spatial_dims=3)
    write_checkpoint(tmp_path / "weights.safetensors", model, Header(model=description))
    scan = save_scan(tmp_path / "scan.nii.gz")
    for mode in ("slide", "slide_gaussian"):
        command = ["predict", str(tmp_path / "weights.safetensors"), str(scan), "-o", str(tmp_path / mode), "--quiet"]
        assert main([*command, "--mode", mode, "--roi-size", "16"]) == 0
        label = Predictor(model, mode=mode, roi_size=16).label(scan)
        mask = np.asarray(nibabel.load(tmp_path / mode / "scan.nii.gz").dataobj)
        assert np.array_equal(mask, open_volume(scan).on_own_axes(label))


def test_what_is_written_of_other_images_only_is_refused(tmp_path):
    photo = save_photo(tmp_path / "a.png")
    with pytest.raises(ValueError, match="preview is for scans, and this is a checkpoint of pictures"):
        densevit.predict(Predictor(make_model(3)[0]), photo, tmp_path / "out", preview=print)
    volumes = Predictor(make_model(1, spatial_dims=3)[0])
    with pytest.raises(ValueError, match="formats are for pictures, and this is a checkpoint of volumes"):
        densevit.predict(volumes, photo, tmp_path / "out", formats=["overlay"])


def test_any_module_with_a_header_is_a_predictor():
    """Class 1 where the second channel is the larger."""
    header = Header(
        model=dict(backbone="mine", decoder="mine", num_classes=2, in_channels=2), classes=("first", "second"),
        normalization=dict(type="mean_std", mean=[0.0, 0.0], std=[1.0, 1.0]),
    )  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (13, 17, 2), np.uint8)
    label = Predictor(torch.nn.Identity(), header).label(pixels)
    assert np.array_equal(label, pixels.argmax(2))


def turned_photo(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(make_photo((40, 56))).save(path, exif=exif)
    return path


@pytest.mark.parametrize(("exif", "size"), [("ignore", (40, 56)), ("apply", (56, 40)), (None, (56, 40))])
def test_photos_are_turned_as_in_training(tmp_path, caplog, exif, size):
    model, description = make_model(3)
    trained = Header(model=description, exif=exif, training=dict(iteration=1))
    predictor = Predictor(model, trained)
    assert [predictor.label(turned_photo(tmp_path / f"{i}.png")).shape for i in range(2)] == [size] * 2
    said = [
        record.getMessage()
        for record in caplog.records
        if "does not say whether training did so" in record.getMessage()
    ]
    assert len(said) == (exif is None)
    assert Header.read(json.loads(json.dumps(trained.as_dict())), tmp_path).exif == exif


def test_one_file_a_channel_is_left_as_stored_where_training_left_photos_so(tmp_path):
    model, description = make_model(2)
    paths = [turned_photo(tmp_path / f"{i}.png") for i in range(2)]
    for path in paths:
        with Image.open(path) as photo:
            photo.convert("L").save(path, exif=photo.getexif())
    assert Predictor(model, Header(model=description, exif="ignore")).label(paths).shape == (40, 56)
    assert Predictor(model, Header(model=description)).label(paths).shape == (56, 40)
