"""Results say what they were made from: nothing of another model, other options or another file is taken for done."""

import csv
import json
import logging
import os
import shutil

import numpy as np
import pytest
import torch

from densevit import create_segmentor
from densevit.checkpoint import Header
from densevit.cli import main
from densevit.predictor import Predictor, predict
from densevit.predictor.outputs import model_digest
from densevit.predictor.structures import Cleaning
from densevit.report.preview import save_preview
from densevit.volumes.volume import ReadOptions
from densevit.weights import read_weights, save_weights
from tests.checkpoints import save_tiny_checkpoint
from tests.predictor.common import read, save_photo
from tests.predictor.scans import save_checkpoint, save_scan
from tests.volumes.dicom_files import save, series

SMALL = dict(backbone_options=dict(dims=(8, 16, 40, 64), depths=(1, 1, 1, 1)))


def other_weights(path, target):
    """The same checkpoint with one number changed."""
    tensors, header = read_weights(path)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    tensors["head.bias"][0] += 1e-3
    save_weights(tensors, target, config=header)
    return target


@pytest.fixture(scope="module", params=["picture", "scan"])
def kind(request, tmp_path_factory):
    """(checkpoint, a function that saves an input of the kind, its ending, the ending of the results)."""
    path = tmp_path_factory.mktemp(request.param) / "weights.safetensors"
    if request.param == "picture":
        return save_tiny_checkpoint(path, num_classes=3, **SMALL), save_photo, ".png", ".png"
    return save_checkpoint(path), save_scan, ".nii.gz", ".nii.gz"


def test_resume_takes_for_done_what_the_same_model_made_of_the_same_file_with_the_same_options(kind, tmp_path):
    checkpoint, save_input, ending, result = kind
    source = save_input(tmp_path / "in" / f"a{ending}", seed=1)
    out = tmp_path / "out"

    def resumed(model, **options):
        return predict(Predictor(model, **options), source, out, resume=True, progress=False).resumed == [source]

    assert not resumed(checkpoint)
    before = (out / f"a{result}").read_bytes()
    assert resumed(checkpoint)
    assert resumed(checkpoint, max_memory="4GB", batch_size=2)  # which decide how fast, not what
    moved = shutil.copy(checkpoint, tmp_path / "moved.safetensors")
    assert resumed(moved)
    other = other_weights(checkpoint, tmp_path / "other.safetensors")
    assert not resumed(other)
    assert resumed(other)
    for options in (dict(scales=(0.5,)), dict(flips=(-2,)), dict(amp="bf16"), dict(clean=Cleaning(fill_holes=()))):
        assert not resumed(checkpoint, **options), options
        assert resumed(checkpoint, **options), options
    assert not resumed(checkpoint)
    stamp = source.stat()
    save_input(source, seed=2)
    os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert not resumed(checkpoint)
    assert (out / f"a{result}").read_bytes() != before


def test_resume_says_that_results_of_something_else_are_made_anew(kind, tmp_path, caplog):
    checkpoint, save_input, ending, _ = kind
    save_input(tmp_path / "in" / f"a{ending}")
    predict(checkpoint, tmp_path / "in", tmp_path / "out", progress=False)
    other = other_weights(checkpoint, tmp_path / "other.safetensors")
    with caplog.at_level(logging.WARNING, "densevit"):
        predict(other, tmp_path / "in", tmp_path / "out", resume=True, progress=False)
    assert "1 of 1 results that are there were made from another model, other options or another file" in caplog.text


def test_a_picture_of_one_format_is_not_done_in_another(tmp_path):
    checkpoint, photo = (
        save_tiny_checkpoint(tmp_path / "w.safetensors", num_classes=3, **SMALL),
        save_photo(tmp_path / "a.png"),
    )
    for formats in ("train_ids", "overlay"):
        report = predict(checkpoint, photo, tmp_path / "out", formats=[formats], resume=True, progress=False)
        assert report.written
    assert read(tmp_path / "out" / "a.png").ndim == 3


def test_another_file_of_a_scan_in_several_files_is_another_scan(tmp_path):
    checkpoint = save_checkpoint(tmp_path / "weights.safetensors")
    save(tmp_path / "ct", series(3))
    run = dict(resume=True, progress=False)
    assert predict(checkpoint, tmp_path / "ct", tmp_path / "out", **run).written
    assert predict(checkpoint, tmp_path / "ct", tmp_path / "out", **run).resumed
    slices = series(3)
    slices[1].PixelData = bytes(len(slices[1].PixelData))
    save(tmp_path / "ct", slices)
    assert predict(checkpoint, tmp_path / "ct", tmp_path / "out", **run).written


def test_options_of_reading_are_options(tmp_path):
    checkpoint, scan = save_checkpoint(tmp_path / "weights.safetensors"), save_scan(tmp_path / "a.nii")
    for read_options, done in (
        (ReadOptions(), False),
        (ReadOptions(max_bytes=10**9), True),
        (ReadOptions(geometry="sform"), False),
    ):
        report = predict(Predictor(checkpoint, read=read_options), scan, tmp_path / "out", resume=True, progress=False)
        assert bool(report.resumed) == done, read_options


def test_statistics_name_checkpoint_options_and_digests(tmp_path):
    checkpoint, scan = save_checkpoint(tmp_path / "weights.safetensors"), save_scan(tmp_path / "a.nii")
    predict(checkpoint, scan, tmp_path / "out", progress=False)
    said = json.loads((tmp_path / "out" / "a.json").read_text())
    assert said["origin"]["checkpoint"] == str(checkpoint)
    assert said["origin"]["options"]["inference"]["roi_size"] == [16, 16, 16]
    assert len(said["origin"]["model"]) == len(said["origin"]["input"]) == 64
    assert said["files"] == ["a.nii.gz", "a.json"]


def test_the_table_of_volumes_never_mixes_two_models(tmp_path, caplog):
    first = save_checkpoint(tmp_path / "weights.safetensors")
    other = other_weights(first, tmp_path / "other.safetensors")
    one, two = (save_scan(tmp_path / f"{name}.nii", seed=i) for i, name in enumerate(("one", "two")))
    out = tmp_path / "out"
    predict(first, [one, two], out, progress=False)
    with caplog.at_level(logging.WARNING, "densevit"):
        predict(other, one, out, progress=False)

    def cases():
        return {row["case"] for row in csv.DictReader((out / "volumes.csv").read_text().splitlines())}

    assert cases() == {"one"}
    assert f"leaves out 1 results of another model or other options that lie in {out}, such as two" in caplog.text
    predict(other, [one, two], out, resume=True, progress=False)
    assert cases() == {"one", "two"}
    without = json.loads((out / "two.json").read_text())
    del without["origin"]  # as written before results said what they were made from
    (out / "two.json").write_text(json.dumps(without))
    predict(other, one, out, progress=False)
    assert cases() == {"one"}


def test_no_picture_of_an_earlier_mask_is_left_beside_a_new_one(tmp_path):
    checkpoint, scan = save_checkpoint(tmp_path / "weights.safetensors"), save_scan(tmp_path / "a.nii")
    out = tmp_path / "out"
    predict(checkpoint, scan, out, preview=save_preview, progress=False)
    (out / "a.txt").write_text("a note of the user's")
    assert (out / "a.png").is_file()
    predict(other_weights(checkpoint, tmp_path / "other.safetensors"), scan, out, progress=False)
    assert not (out / "a.png").exists()
    assert (out / "a.txt").is_file()


def test_a_module_is_known_by_its_weights_and_its_layers():
    model = create_segmentor("mit_b0", "all_mlp", num_classes=2, **SMALL)
    header = Header.of_model(model)
    first = model_digest(model, header)
    assert model_digest(model, header) == first
    assert model_digest(model.to(torch.bfloat16), header) != first
    model.float()
    with torch.no_grad():
        model.head.weight[0, 0] += 1
    assert model_digest(model, header) != first
    buffers = torch.nn.BatchNorm2d(2)
    before = model_digest(buffers, header)
    buffers.num_batches_tracked += 1
    assert model_digest(buffers, header) != before


def test_the_command_resumes_only_what_its_checkpoint_made(tmp_path, capsys):
    first = save_tiny_checkpoint(tmp_path / "w.safetensors", num_classes=3, **SMALL)
    photo = save_photo(tmp_path / "in" / "a.png")
    command = [str(photo), "-o", str(tmp_path / "out"), "--resume", "--quiet", "--device", "cpu"]
    assert main(["predict", str(first), *command]) == 0
    other = other_weights(first, tmp_path / "other.safetensors")
    assert main(["predict", str(other), *command]) == 0
    told = capsys.readouterr()
    assert "1 predicted, results" in told.out
    assert "they are made anew" in told.err
    assert np.array_equal(read(tmp_path / "out" / "a.png"), Predictor(other)(photo).label)
