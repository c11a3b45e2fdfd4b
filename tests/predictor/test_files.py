"""Folders of pictures in, PNGs out."""

import errno
import logging
import os

import numpy as np
import pytest
import torch
from PIL import Image

import densevit
from densevit.data import PictureDataset, Sample
from densevit.data.layouts import cityscapes
from densevit.labels import overlay
from densevit.normalization import MEAN_STD, create_normalization
from densevit.pictures.coding import LabelCoding
from densevit.predictor import Predictor
from densevit.predictor.picture_outputs import PredictionWriter, write_png
from densevit.volumes.grid import Grid
from tests.checkpoints import save_tiny_checkpoint
from tests.predictor.common import files_below, make_photo, read, save_photo, truncate


def test_predictions_are_written_below_the_output_with_the_names_of_the_inputs(predictor, photos, tmp_path):
    report = densevit.predict(predictor, photos, tmp_path / "out", recursive=True, progress=False)
    assert files_below(tmp_path / "out") == ["a.png", "b.png", "deeper/a.png"]
    assert report.written[photos / "b.jpg"] == [tmp_path / "out" / "b.png"]
    assert report.failed == {}
    for name in ("a.png", "deeper/a.png"):
        stored = read(tmp_path / "out" / name)
        assert stored.dtype == np.uint8
        assert np.array_equal(stored, predictor(photos / name).label)


def test_every_format_shows_the_same_label(predictor, photos, tmp_path):
    formats = ("train_ids", "label_ids", "palette", "overlay")
    densevit.predict(predictor, photos / "a.png", tmp_path, formats=formats, progress=False)
    stored = {name: tmp_path / name / "a.png" for name in formats}
    label = predictor(photos / "a.png").label
    assert np.array_equal(read(stored["train_ids"]), label)
    to_label_id = dict(cityscapes.TRAIN_ID_TO_LABEL_ID)
    assert np.array_equal(read(stored["label_ids"]), np.vectorize(to_label_id.get)(label))
    assert np.array_equal(read(stored["palette"]), label)
    with Image.open(stored["palette"]) as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.array(picture.convert("RGB")), np.array(cityscapes.PALETTE, np.uint8)[label])
    assert read(stored["overlay"]).shape == (33, 48, 3)


def test_more_than_255_classes_are_written_as_16_bits(tmp_path):
    path = save_tiny_checkpoint(tmp_path / "weights.safetensors", num_classes=300)
    photo = save_photo(tmp_path / "a.png")
    predictor = Predictor(path)
    densevit.predict(predictor, photo, tmp_path / "out", progress=False)
    stored = read(tmp_path / "out" / "a.png")
    assert stored.dtype == np.uint16
    assert np.array_equal(stored, predictor(photo).label)
    with pytest.raises(ValueError, match="a palette PNG holds 256 colours"):
        densevit.predict(predictor, photo, tmp_path / "out", formats=["palette"], progress=False)


def test_formats_that_cannot_be_written_are_told(tmp_path, predictor, photos):
    other = Predictor(save_tiny_checkpoint(tmp_path / "weights.safetensors", num_classes=3))
    for model, formats, sentence in [
        (other, ["label_ids"], "label_ids are Cityscapes' own numbers"),
        (predictor, ["colour"], "no output format named 'colour'"),
        (predictor, [], "no output format was given"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            densevit.predict(model, photos, tmp_path / "out", formats=formats, progress=False)


def test_one_truncated_picture_is_reported_and_the_others_are_written(predictor, photos, tmp_path, caplog):
    truncate(photos / "b.jpg")
    save_photo(photos / "c.png")
    with caplog.at_level(logging.ERROR, "densevit"):
        report = densevit.predict(predictor, photos, tmp_path / "out", progress=False)
    assert files_below(tmp_path / "out") == ["a.png", "c.png"]
    assert list(report.failed) == [photos / "b.jpg"]
    (message,) = [record.getMessage() for record in caplog.records]
    assert "b.jpg" in message
    assert "\n" not in message


def test_every_reason_is_one_line_even_if_the_name_is_not(predictor, tmp_path):
    bad = truncate(save_photo(tmp_path / "two\nlines.png"))
    report = densevit.predict(predictor, bad, tmp_path / "out", progress=False)
    assert "\n" not in report.failed[bad]
    assert r"two\nlines.png: image file is truncated" in report.failed[bad]
    assert report.failed[bad].count("lines.png") == 1


def test_a_link_that_leads_nowhere_is_reported_as_a_missing_picture(predictor, photos, tmp_path):
    (photos / "link.png").symlink_to(tmp_path / "gone.png")
    report = densevit.predict(predictor, photos, tmp_path / "out", progress=False)
    assert (len(report.written), list(report.failed)) == (2, [photos / "link.png"])


def test_resume_leaves_what_is_done_and_makes_the_rest(predictor, photos, tmp_path):
    out = tmp_path / "out"
    densevit.predict(predictor, photos / "a.png", out, progress=False)
    made = (out / "a.png").stat().st_ino
    report = densevit.predict(predictor, photos, out, resume=True, progress=False)
    assert report.resumed == [photos / "a.png"]
    assert list(report.written) == [photos / "b.jpg"]
    assert (out / "a.png").stat().st_ino == made
    (out / "a.png").write_bytes(b"of something else")
    densevit.predict(predictor, photos, out, resume=True, progress=False)
    assert np.array_equal(read(out / "a.png"), predictor(photos / "a.png").label)


def test_processes_divide_the_pictures_and_resume_what_another_left(predictor, photos, tmp_path):
    everything = dict(recursive=True, progress=False, resume=True)
    first = densevit.predict(predictor, photos, tmp_path / "out", **everything, share=(0, 2))
    second = densevit.predict(predictor, photos, tmp_path / "out", **everything, share=(1, 2))
    assert (len(first.written), len(second.written)) == (2, 1)
    assert files_below(tmp_path / "out") == ["a.png", "b.png", "deeper/a.png"]
    assert len(densevit.predict(predictor, photos, tmp_path / "out", **everything).resumed) == 3


def test_a_picture_is_never_overwritten_by_its_prediction(predictor, photos):
    before = (photos / "a.png").read_bytes()
    with pytest.raises(ValueError, match=r"would overwrite .*, which is read from"):
        densevit.predict(predictor, photos, photos, progress=False)
    assert (photos / "a.png").read_bytes() == before


def test_earlier_results_inside_the_input_folder_are_no_inputs(predictor, photos):
    for _ in range(2):
        report = densevit.predict(predictor, photos, photos / "out", recursive=True, progress=False)
        assert len(report.written) == 3


def test_an_output_that_cannot_be_a_folder_is_told_before_the_checkpoint_is_read(photos, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotADirectoryError, match="is a file; give a folder"):
        densevit.predict(tmp_path / "no checkpoint", photos, tmp_path / "file", progress=False)
    with pytest.raises(PermissionError, match="cannot write to the output folder"):
        densevit.predict(tmp_path / "no checkpoint", photos, tmp_path / "file" / "below", progress=False)


def test_a_full_disk_is_told_with_the_file_and_leaves_nothing_behind(predictor, photos, tmp_path, monkeypatch):
    def full(self, file, **_options):
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", full)
    report = densevit.predict(predictor, photos, tmp_path / "out", progress=False)
    told = report.failed[photos / "a.png"]
    assert told == f"{photos}/a.png: no space left on device: {tmp_path}/out/a.png"
    assert (len(report.failed), files_below(tmp_path / "out")) == (2, [])


def test_a_picture_too_large_for_the_memory_is_reported_and_the_others_are_written(predictor, photos, tmp_path):
    def fill(_model, images):
        if images[0].shape[-1] == 64:  # a.png, filled up to whole cells
            torch.empty(10**15)

    hook = predictor.model.register_forward_pre_hook(fill)
    report = densevit.predict(predictor, photos, tmp_path / "out", progress=False)
    hook.remove()
    assert list(report.written) == [photos / "b.jpg"]
    assert "not enough memory" in report.failed[photos / "a.png"]


def test_the_longest_file_name_is_written(tmp_path):
    write_png(Image.new("L", (2, 2)), tmp_path / ("n" * 251 + ".png"))


def test_a_failed_write_leaves_the_former_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "a.png"
    write_png(Image.new("L", (4, 4), 1), target)
    before = target.read_bytes()

    def full_disk(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_png(Image.new("L", (4, 4), 2), target)
    assert target.read_bytes() == before
    assert files_below(tmp_path) == ["a.png"]


def test_pictures_of_every_kind_are_predicted(predictor, tmp_path):
    photo = Image.fromarray(make_photo((20, 30)))
    folder = tmp_path / "kinds"
    folder.mkdir()
    photo.convert("L").save(folder / "grey.png")
    photo.convert("P").save(folder / "palette.png")
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.convert("RGBA").save(folder / "opaque.png")
    Image.fromarray(np.array(photo.convert("L")).astype(np.uint16) * 257).save(folder / "sixteen_bits.png")
    turned = photo.getexif()
    turned[0x0112] = 6  # to be shown turned by a quarter
    photo.save(folder / "turned.jpg", exif=turned)
    report = densevit.predict(predictor, folder, tmp_path / "out", progress=False)
    assert report.failed == {}
    shapes = {path.stem: read(path).shape for path in (tmp_path / "out").iterdir()}
    assert shapes.pop("turned") == (30, 20)
    assert set(shapes.values()) == {(20, 30)}
    assert len(shapes) == 5


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_a_dataset_writer_never_overwrites_the_dataset(tmp_path, folder):
    files = [(str(save_photo(tmp_path / "images/a.png")), str(save_photo(tmp_path / "labels/a.png")))]
    dataset = PictureDataset(files, classes=["a", "b", "c"], coding=LabelCoding(num_classes=3))
    with pytest.raises(ValueError, match="would overwrite"):
        PredictionWriter(dataset, {"train_ids": tmp_path / folder})


def test_a_dataset_writer_names_predictions_as_the_images_are_named(tmp_path):
    folder = tmp_path / "images"
    files = [(str(save_photo(folder / city / "a.png")), None) for city in ("aachen", "ulm")]
    dataset = PictureDataset(files, classes=["a", "b", "c"], coding=LabelCoding(num_classes=3))
    writer = PredictionWriter(dataset, {"train_ids": tmp_path / "ids", "overlay": tmp_path / "shown"})
    label = torch.arange(33 * 48).reshape(33, 48) % 3
    image = torch.from_numpy(create_normalization(MEAN_STD)(make_photo().transpose(2, 0, 1)))
    sample = Sample(image=image, label=None, grid=Grid((33, 48)), meta=dict(image=files[1][0]))
    writer(sample, label)
    assert files_below(tmp_path / "ids") == files_below(tmp_path / "shown") == ["ulm/a.png"]
    assert np.array_equal(read(tmp_path / "ids" / "ulm" / "a.png"), label.numpy())
    expected = overlay(make_photo(), label.numpy(), palette=dataset.palette)
    assert np.array_equal(read(tmp_path / "shown" / "ulm" / "a.png"), expected)
