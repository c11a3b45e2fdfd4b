"""Folder layouts: what is found, and what its values become."""

import json

import numpy as np
import pytest

from densevit.data import create_dataset
from densevit.data.layouts.ade20k import CLASSES as ADE_CLASSES
from densevit.data.layouts.ade20k import PALETTE as ADE_PALETTE
from densevit.data.layouts.cityscapes import CLASSES, LABEL_ID_TO_TRAIN_ID, PALETTE, TRAIN_ID_TO_LABEL_ID

LABEL = np.arange(80).reshape(8, 10) % 3


def test_cityscapes_ids_go_there_and_back():
    assert len(CLASSES) == len(PALETTE) == 19
    assert [LABEL_ID_TO_TRAIN_ID[TRAIN_ID_TO_LABEL_ID[k]] for k in range(19)] == list(range(19))
    assert sorted(LABEL_ID_TO_TRAIN_ID) == list(range(34))
    assert sum(train_id == 255 for train_id in LABEL_ID_TO_TRAIN_ID.values()) == 15
    assert (LABEL_ID_TO_TRAIN_ID[7], LABEL_ID_TO_TRAIN_ID[26], LABEL_ID_TO_TRAIN_ID[33]) == (0, 13, 18)


def test_ade20k_has_150_names_and_colours():
    assert len(set(ADE_CLASSES)) == len(ADE_PALETTE) == 150
    assert (ADE_CLASSES[0], ADE_CLASSES[12], ADE_CLASSES[149]) == ("wall", "person", "flag")
    assert (ADE_PALETTE[0], ADE_PALETTE[12]) == ((120, 120, 120), (150, 5, 61))


def test_cityscapes_label_ids_are_converted_on_the_fly(cityscapes_set):
    label_ids = np.arange(80).reshape(8, 10) % 34
    dataset = create_dataset(dict(type="cityscapes", root=cityscapes_set({"labelIds": label_ids})))
    sample = dataset[0]
    np.testing.assert_array_equal(sample.label, np.vectorize(LABEL_ID_TO_TRAIN_ID.get)(label_ids))
    assert sample.image.shape == (3, 8, 10)
    assert sample.grid.size == (8, 10)
    assert (dataset.classes, dataset.num_classes, dataset.ignore_index) == (CLASSES, 19, 255)


def test_cityscapes_train_ids_are_preferred(cityscapes_set):
    root = cityscapes_set({"labelIds": np.full((8, 10), 26), "labelTrainIds": np.full((8, 10), 5)})
    assert (create_dataset(dict(type="cityscapes", root=root))[0].label == 5).all()


def test_cityscapes_may_mix_both_kinds_of_label_file(cityscapes_set):
    cityscapes_set({"labelIds": np.full((8, 10), 26)}, names=["a_0_0"])
    root = cityscapes_set({"labelTrainIds": np.full((8, 10), 5)}, names=["b_0_0"])
    dataset = create_dataset(dict(type="cityscapes", root=root))
    assert [int(dataset[i].label.max()) for i in range(2)] == [13, 5]


def test_hidden_copies_among_cityscapes_images_are_left_out(cityscapes_set):
    root = cityscapes_set(dict(labelTrainIds=np.zeros((8, 10))))
    (root / "leftImg8bit/train/aachen/._aachen_000000_000019_leftImg8bit.png").write_text("macOS")
    assert len(create_dataset(dict(type="cityscapes", root=root))) == 1


def test_cityscapes_values_are_checked(cityscapes_set):
    root = cityscapes_set({"labelIds": np.full((8, 10), 34)})
    with pytest.raises(ValueError, match=r"labelIds\.png has the label value 34"):
        create_dataset(dict(type="cityscapes", root=root))


def test_cityscapes_without_labels_is_opened_only_on_request(cityscapes_set):
    config = dict(type="cityscapes", root=cityscapes_set({}, split="test"), split="test")
    with pytest.raises(ValueError, match=r"leftImg8bit\.png has no label: expected .*labelIds\.png"):
        create_dataset(config)
    for labels in (None, "none"):
        dataset = create_dataset(dict(config, labels=labels))
        assert not dataset.has_labels
        assert dataset[0].label is None


@pytest.fixture
def ade_root(tmp_path, save, photo):
    label = np.array([[0, 1, 2, 150, 255]] * 12, np.uint8).repeat(4, axis=1)
    save(tmp_path / "ADEChallengeData2016/images/training/a.jpg", photo)
    save(tmp_path / "ADEChallengeData2016/annotations/training/a.png", label)
    return tmp_path


@pytest.mark.parametrize("below", ["", "ADEChallengeData2016"])
def test_ade20k_zero_is_no_class_and_255_stays_ignored(ade_root, below):
    label = create_dataset(dict(type="ade20k", root=ade_root / below))[0].label
    assert np.unique(label[0]).tolist() == [0, 1, 149, 255]
    assert label[0, ::4].tolist() == [255, 0, 1, 149, 255]


def test_ade20k_values_are_checked_before_they_are_reduced(ade_root, save):
    bad = np.full((12, 20), 151, np.uint8)
    save(ade_root / "ADEChallengeData2016/annotations/training/a.png", bad)
    with pytest.raises(ValueError, match=r"a\.png has the label value 151 .* 150 classes take 1 to 150"):
        create_dataset(dict(type="ade20k", root=ade_root))


def test_a_folder_needs_its_root_alone(folder_set):
    dataset = create_dataset(dict(type="folder", root=folder_set([LABEL, LABEL])))
    assert dataset.classes == ("road", "car", "tree")
    assert len(dataset) == 2
    np.testing.assert_array_equal(dataset[1].label, LABEL)


def test_the_classes_file_may_say_what_labels_mean(folder_set):
    root = folder_set([np.where(LABEL == 2, 11, LABEL)], classes=["unused"])
    said = dict(classes=["road", "car"], ignore_index=11, palette=[[1, 2, 3], "#040506"])
    (root / "classes.json").write_text(json.dumps(said))
    dataset = create_dataset(dict(type="folder", root=root))
    np.testing.assert_array_equal(dataset[0].label, np.where(LABEL == 2, 255, LABEL))
    assert (dataset.classes, dataset.palette) == (("road", "car"), [(1, 2, 3), (4, 5, 6)])


def test_the_config_goes_before_the_classes_file(folder_set):
    root = folder_set([LABEL])
    (root / "classes.json").write_text(json.dumps(dict(classes=["a", "b", "c"], ignore_index=0)))
    dataset = create_dataset(dict(type="folder", root=root, classes=["x", "y"], ignore_index=2))
    assert dataset.classes == ("x", "y")
    assert (dataset[0].label == np.where(LABEL == 2, 255, LABEL)).all()


def test_colour_coded_folders_are_read_and_keep_their_colours(folder_set, save):
    root = folder_set([LABEL])
    colors = np.array([(9, 9, 9), (0, 0, 142), (0, 80, 0)], np.uint8)
    save(root / "labels/train/00.png", colors[LABEL])
    dataset = create_dataset(dict(type="folder", root=root, color_map=colors.tolist()))
    np.testing.assert_array_equal(dataset[0].label, LABEL)
    assert dataset.palette == [(9, 9, 9), (0, 0, 142), (0, 80, 0)]


def test_masks_of_0_and_255_are_read_with_a_label_map(folder_set):
    mask = np.where(LABEL == 1, 255, 0)
    root = folder_set([mask], classes=["background", "car"])
    dataset = create_dataset(dict(type="folder", root=root, label_map={255: 1}, ignore_index="none"))
    np.testing.assert_array_equal(dataset[0].label, LABEL == 1)


def test_suffixes_name_what_follows_the_shared_name(tmp_path, save, photo):
    for name in ("a", "b"):
        save(tmp_path / f"imgs/{name}_img.jpg", photo)
        save(tmp_path / f"gts/{name}_gt.png", np.zeros((12, 20), np.uint8))
    config = dict(type="folder", root=tmp_path, images="imgs", labels="gts", classes=["x"])
    for image_suffix, label_suffix in (("_img", "_gt"), ("_img.jpg", "_gt.png")):
        assert len(create_dataset(dict(config, image_suffix=image_suffix, label_suffix=label_suffix))) == 2


def test_a_split_file_chooses_and_orders(folder_set):
    root = folder_set([LABEL] * 4, split="all")
    (root / "val.txt").write_text("# held out\n03\r\n01.png\n\n")
    config = dict(type="folder", root=root, images="images/all", labels="labels/all", split_file="{split}.txt")
    files = create_dataset(dict(config, split="val")).names
    assert [name.rsplit("/", 1)[1] for name in files] == ["03.png", "01.png"]


def test_a_split_file_may_name_both_files(folder_set):
    root = folder_set([LABEL, LABEL + 0])
    (root / "train.txt").write_text("images/train/01.png labels/train/00.png\n")
    dataset = create_dataset(dict(type="folder", root=root, split_file="train.txt"))
    assert dataset.files == [str(root / "images/train/01.png"), str(root / "labels/train/00.png")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("09", "names '09'"),
        ("../00", "outside the data root"),
        ("a b c", "expected a name"),
        ("", "is empty"),
        ("images/train/00.png labels/train/77.png", r"77\.png does not exist"),
        ("00\n00.png", "names '00' 2 times"),
        ("images/train/00.png labels/train/00.png\n" * 2, "names 'images/train/00.png' 2 times"),
        ("stra\xdfe", "not text in UTF-8"),
    ],
)
def test_a_wrong_split_file_is_refused(folder_set, line, said):
    root = folder_set([LABEL])
    (root / "train.txt").write_bytes(line.encode("latin-1") + b"\n")
    with pytest.raises(ValueError, match=said):
        create_dataset(dict(type="folder", root=root, split_file="train.txt"))


def test_a_tab_between_image_and_label_allows_spaces_in_their_names(folder_set):
    root = folder_set([LABEL])
    for folder in ("images", "labels"):
        (root / folder / "train/00.png").rename(root / folder / "train/the first.png")
    (root / "train.txt").write_text("images/train/the first.png\tlabels/train/the first.png\n")
    assert len(create_dataset(dict(type="folder", root=root, split_file="train.txt"))) == 1


@pytest.mark.parametrize("part", [dict(val_every=2), dict(split_file="train.txt")], ids=str)
def test_labels_of_another_split_are_no_cause_for_a_warning(folder_set, caplog, part):
    root = folder_set([LABEL] * 3)
    (root / "train.txt").write_text("00\n")
    create_dataset(dict(type="folder", root=root, **part))
    assert not caplog.records


def test_an_accent_stored_as_two_characters_is_the_same_name(folder_set):
    root = folder_set([LABEL])
    (root / "images/train/00.png").rename(root / "images/train/u\N{COMBINING DIAERESIS}.png")
    (root / "labels/train/00.png").rename(root / "labels/train/\N{LATIN SMALL LETTER U WITH DIAERESIS}.png")
    assert len(create_dataset(dict(type="folder", root=root))) == 1


def test_val_every_divides_a_set(folder_set):
    root = folder_set([LABEL] * 10, split="all")
    config = dict(type="folder", root=root, images="images/all", labels="labels/all", val_every=5)
    train, val = (create_dataset(dict(config, split=split)).cases for split in ("train", "val"))
    assert (len(train), len(val)) == (8, 2)
    assert not set(train) & set(val)


def test_labels_without_image_are_warned_of(folder_set, save, caplog):
    root = folder_set([LABEL])
    save(root / "labels/train/99.png", LABEL.astype(np.uint8))
    assert len(create_dataset(dict(type="folder", root=root))) == 1
    assert "1 labels" in caplog.text
    assert "99.png" in caplog.text


def test_an_image_without_label_is_named_with_the_expected_file(folder_set):
    with pytest.raises(
        ValueError, match=r"1 of 2 images have no label, first .*01\.png: expected .*labels/train/01\.png"
    ):
        create_dataset(dict(type="folder", root=folder_set([LABEL, None])))


def test_a_missing_suffix_is_suggested(folder_set):
    root = folder_set([LABEL])
    (root / "labels/train/00.png").rename(root / "labels/train/00_gt.png")
    with pytest.raises(ValueError, match="label_suffix='_gt'"):
        create_dataset(dict(type="folder", root=root))


def test_two_images_of_one_name_are_refused(folder_set, save, photo):
    root = folder_set([LABEL])
    save(root / "images/train/00.jpg", photo)
    with pytest.raises(ValueError, match="share one name"):
        create_dataset(dict(type="folder", root=root))
