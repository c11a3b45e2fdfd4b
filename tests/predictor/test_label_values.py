"""Predictions of pictures hold the values of the label files that a model was trained on, as those of scans do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import densevit
from densevit.cli import main
from densevit.data import PictureDataset, create_dataset
from densevit.data.layouts import cityscapes
from densevit.pictures.coding import LabelCoding
from densevit.predictor import Predictor
from tests.checkpoints import save_tiny_checkpoint
from tests.predictor.common import read, save_photo

SMALL = dict(backbone_options=dict(dims=(8, 16, 40, 64), depths=(1, 1, 1, 1)))


@pytest.mark.parametrize(
    ("options", "values", "held"),
    [
        (dict(num_classes=3), None, [0, 1, 2, 255]),
        (dict(num_classes=3, reduce_zero_label=True), [1, 2, 3], [0, 1]),
        (dict(num_classes=2, label_map={255: 1}, ignore_value=None), [0, 255], [0, 0, 255]),
        (dict(num_classes=2, label_map={255: 1}, ignore_value=None), None, [0, 1, 1, 255]),
        (dict(num_classes=2, label_map={0: 255, 100: 0, 200: 1}), [100, 200], [0, 100]),
        (dict(num_classes=2, label_map={2: 1, 3: 1}), [0, 2], [0]),
        (dict(num_classes=2, label_map={1: 0, 2: 1, 3: 1}), [0, 3], [0, 0, 1, 2, 3, 3]),
        (dict(num_classes=3, label_map={1: 0}), None, [0]),  # nothing stands for class 1
        (dict(num_classes=2, color_map={(0, 0, 0): 0, (255, 0, 0): 1}), None, [0]),
    ],
    ids=str,
)
def test_the_value_of_a_class_is_the_one_that_the_files_hold(tmp_path, options, values, held):
    Image.fromarray(np.array([held], np.uint8)).save(tmp_path / "label.png")
    coding, pairs = LabelCoding(**options), [(str(tmp_path / "image.png"), str(tmp_path / "label.png"))]
    classes = [f"class {i}" for i in range(coding.num_classes)]
    assert PictureDataset(pairs, classes=classes, coding=coding).label_values == values
    if values is not None:
        assert coding.decode(np.array([values]), path="label.png").tolist() == [list(range(coding.num_classes))]


@pytest.fixture
def shifted(tmp_path):
    """A checkpoint whose label files had 10, 20 and 30 for three classes, and a photo."""
    path = save_tiny_checkpoint(tmp_path / "w.safetensors", num_classes=3, **SMALL)
    predictor = Predictor(path)
    header = replace(predictor.header, label_values=(10, 20, 30))
    return predictor, Predictor(predictor.model, header), save_photo(tmp_path / "in" / "a.png")


def test_files_and_arrays_have_the_label_files_values_and_class_numbers_on_request(shifted, tmp_path):
    plain, own, photo = shifted
    numbers = plain.label(photo)
    assert len(np.unique(numbers)) > 1
    assert np.array_equal(own.label(photo), np.array([10, 20, 30])[numbers])
    densevit.predict(own, photo, tmp_path / "own", progress=False)
    assert np.array_equal(read(tmp_path / "own" / "a.png"), np.array([10, 20, 30])[numbers])
    densevit.predict(plain, photo, tmp_path / "plain", progress=False)
    assert np.array_equal(read(tmp_path / "plain" / "a.png"), numbers)
    formats = ("train_ids", "label_ids", "palette", "overlay")
    densevit.predict(own, photo, tmp_path / "all", formats=formats, progress=False)
    densevit.predict(plain, photo, tmp_path / "other", formats=("palette", "overlay"), progress=False)
    assert np.array_equal(read(tmp_path / "all" / "train_ids" / "a.png"), numbers)
    assert np.array_equal(read(tmp_path / "all" / "label_ids" / "a.png"), own.label(photo))
    for name in ("palette", "overlay"):
        assert np.array_equal(read(tmp_path / "all" / name / "a.png"), read(tmp_path / "other" / name / "a.png"))


def test_values_beyond_those_of_a_png_are_refused(shifted, tmp_path):
    plain, _, photo = shifted
    far = Predictor(plain.model, replace(plain.header, label_values=(1, 2, 70000)))
    with pytest.raises(
        ValueError, match="a PNG holds values to 65535, and the classes have up to 70000; use train_ids"
    ):
        densevit.predict(far, photo, tmp_path / "out", progress=False)
    wide = Predictor(plain.model, replace(plain.header, label_values=(1, 300, 65535)))
    densevit.predict(wide, photo, tmp_path / "out", progress=False)
    assert np.array_equal(read(tmp_path / "out" / "a.png"), np.array([1, 300, 65535])[plain.label(photo)])


CONFIG = """
model = dict(backbone="mit_b0", decoder="all_mlp", num_classes=2, decoder_options=dict(dim=8),
    backbone_options=dict(dims=(8, 16, 40, 64), depths=(1, 1, 1, 1)))
loss = dict(type="cross_entropy")
optimizer = dict(lr=1e-3)
schedule = dict(type="poly")
train_cfg = dict(max_iters=1, val_interval=1, checkpoint_interval=1, log_interval=1)
data = dict(type="folder", root="{root}", classes=["skin", "lesion"], label_map={{255: 1}}, ignore_index="none")
train_data = dict(dataset=dict(data, images="images", labels="labels"), augment=dict(crop_size=(32, 32)), batch_size=2,
    num_workers=0)
val_data = dict(dataset=dict(data, images="images", labels="labels"), num_workers=0)
visualization = dict(tensorboard=False, num_images=0)
del data
"""


def test_black_and_white_masks_in_black_and_white_masks_out(tmp_path):
    for i in range(2):
        save_photo(tmp_path / "images" / f"{i}.png", size=(40, 48), seed=i)
        (tmp_path / "labels").mkdir(exist_ok=True)
        mask = np.random.default_rng(i).choice(np.array([0, 255], np.uint8), (40, 48))
        Image.fromarray(mask).save(tmp_path / "labels" / f"{i}.png")
    (tmp_path / "config.py").write_text(CONFIG.format(root=tmp_path))
    run, config = tmp_path / "run", str(tmp_path / "config.py")
    assert main(["train", config, "--work-dir", str(run), "--device", "cpu"]) == 0
    predictor = Predictor(run)
    assert predictor.header.label_values == (0, 255)
    with torch.no_grad():
        predictor.model.head.weight.normal_()  # so that both classes are predicted
    densevit.predict(predictor, tmp_path / "images", tmp_path / "out", progress=False)
    assert set(np.unique(read(tmp_path / "out" / "0.png"))) == {0, 255}
    command = ["test", config, str(run), "--device", "cpu", "--out"]
    assert main([*command, str(tmp_path / "tested")]) == 0
    assert main([*command, str(tmp_path / "numbers"), "--format", "train_ids"]) == 0
    tested, numbers = read(tmp_path / "tested" / "0.png"), read(tmp_path / "numbers" / "0.png")
    assert np.array_equal(tested, numbers * np.uint8(255))


def test_cityscapes_labels_say_which_values_predictions_get(tmp_path):
    def dataset(ending):
        root = tmp_path / ending
        save_photo(root / "leftImg8bit" / "train" / "ulm" / "ulm_0_leftImg8bit.png", size=(8, 8))
        label = root / "gtFine" / "train" / "ulm" / f"ulm_0_gtFine_{ending}.png"
        label.parent.mkdir(parents=True)
        Image.fromarray(np.full((8, 8), 7, np.uint8)).save(label)
        return create_dataset(dict(type="cityscapes", root=str(root)))

    assert dataset("labelTrainIds").label_values is None
    assert dataset("labelIds").label_values == list(cityscapes.TRAIN_ID_TO_LABEL_ID.values())
    pairs = [(str(tmp_path / "a.png"), f"{tmp_path}/a{ending}") for ending in ("_labelIds.png", "_labelTrainIds.png")]
    codings = {
        "_labelTrainIds.png": LabelCoding(num_classes=2),
        "_labelIds.png": LabelCoding(num_classes=2, label_map={7: 0, 8: 1}),
    }
    assert PictureDataset(pairs[:1], classes=["a", "b"], coding=codings).label_values == [7, 8]
    assert PictureDataset(pairs, classes=["a", "b"], coding=codings).label_values is None  # no value is right in both
