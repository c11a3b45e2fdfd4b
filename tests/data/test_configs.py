"""Configs of data sets: a wrong one is refused in one sentence, and common layouts need none."""

import numpy as np
import pytest

from densevit.data import create_dataset, guess_dataset

LABEL = np.arange(80).reshape(8, 10) % 3


@pytest.mark.parametrize("kind", ["folder", "cityscapes", "ade20k"])
def test_a_missing_root_is_named(tmp_path, kind):
    with pytest.raises(ValueError, match=r"the data root .*nowhere does not exist"):
        create_dataset(dict(type=kind, root=tmp_path / "nowhere"))


@pytest.mark.parametrize("kind", ["folder", "cityscapes", "ade20k"])
def test_a_missing_split_is_named_with_what_is_there(tmp_path, kind):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "classes.txt").write_text("a\n")
    with pytest.raises(ValueError, match=r"does not exist \(.* has pictures\)"):
        create_dataset(dict(type=kind, root=tmp_path))


@pytest.mark.parametrize(
    ("kind", "folder"),
    [("folder", "images/train"), ("cityscapes", "leftImg8bit/train"), ("ade20k", "images/training")],
)
def test_an_empty_split_is_refused(tmp_path, kind, folder):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "classes.txt").write_text("a\n")
    with pytest.raises(ValueError, match="holds no"):
        create_dataset(dict(type=kind, root=tmp_path))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (dict(root="x"), "needs a type"),
        (dict(type="cityscape", root="x"), "did you mean cityscapes"),
        (dict(type="folder", root="x", colormap=[]), "no key 'colormap'; did you mean color_map"),
        (dict(type="cityscapes"), "needs root"),
        (dict(type="cityscapes", root="x", check="always"), "check must be"),
        (None, "needs a type"),
        (dict(type="folder", root=None), "'folder' needs root to be text, got None"),
        (dict(type="folder", root=""), "root is an empty text"),
        (dict(type="folder", root="x", classes=3), "needs classes to be text or a list or None, got 3"),
        (dict(type="folder", root="x", val_every="5"), "needs val_every to be a whole number, got '5'"),
        (dict(type="folder", root="x", reduce_zero_label="False"), "to be True or False or None, got 'False'"),
    ],
)
def test_a_wrong_config_is_refused_before_files_are_looked_for(config, said):
    with pytest.raises(ValueError, match=said):
        create_dataset(config)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ('{"names": []}', 'has no "classes"'),
        ("[]", "list of names"),
        ('["a", "a"]', "more than"),
        ('[" "]', "list of names"),
        ('{"classes": 5}', "needs classes to be a list"),
        ('{"classes": {"0": "road"}}', "needs classes to be a list"),
        ('{"classes": ["a"], "palette": "red"}', "needs palette to be a list"),
        ('{"classes": ["a"], "palette": [[0, 0, 256]]}', "not a colour"),
        ('{"classes": ["a"], "ignore_index": 1.5}', "needs ignore_index to be a whole number"),
        ('{"classes": ["a"], "reduce_zero_label": "false"}', "needs reduce_zero_label to be True or False"),
        ('["stra\xdfe"]', "not text in UTF-8"),
    ],
)
def test_a_wrong_classes_file_is_named(folder_set, content, said):
    root = folder_set([LABEL])
    (root / "classes.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"classes\.json.*{said}"):
        create_dataset(dict(type="folder", root=root))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(ignore_index=1), "value 1 is both ignored .* and class 1.*'none'"),
        (dict(ignore_index="void"), "ignore_index must be a number"),
        (dict(label_map={255: 1}), "value 255 is both ignored"),
        (dict(label_map={"road": 1}), "label_map must be a number"),
        (dict(label_map={7: "bus"}), "label_map names the class 'bus'"),
        (dict(label_map={7: 1.7}), "label_map names the class 1.7"),
        (dict(color_map=[(1, 2, 3)] * 3), r"the colour \(1, 2, 3\) two classes"),
        (dict(val_every=1), "2 or more"),
        (dict(images="images/{spilt}"), r"images/\{spilt\} does not exist"),
    ],
    ids=str,
)
def test_a_description_that_contradicts_itself_is_refused(folder_set, options, said):
    with pytest.raises(ValueError, match=said):
        create_dataset(dict(type="folder", root=folder_set([LABEL]), **options))


def test_a_class_number_may_be_ignored_where_label_map_moves_the_class(folder_set):
    root = folder_set([LABEL], classes=["road", "car"])  # 0 is no class, 1 and 2 are the two
    dataset = create_dataset(dict(type="folder", root=root, label_map={1: "road", 2: "car"}, ignore_index=0))
    np.testing.assert_array_equal(dataset[0].label, np.array([255, 0, 1])[LABEL])


def test_missing_classes_are_asked_for(folder_set):
    root = folder_set([LABEL])
    (root / "classes.txt").unlink()
    with pytest.raises(ValueError, match=r"has no classes\.json or classes\.txt"):
        create_dataset(dict(type="folder", root=root))


@pytest.mark.parametrize(
    ("images", "labels"),
    [("images/train", "labels/train"), ("img_dir/train", "ann_dir/train"), ("train/images", "train/masks"),
     ("train", "trainannot"), ("images", "labels"), ("imgs", "gts")],
)  # fmt: skip
def test_common_folders_are_recognised(tmp_path, save, photo, images, labels):
    for index in range(6):
        save(tmp_path / images / f"{index}.jpg", photo)
        save(tmp_path / labels / f"{index}_gt.png", np.zeros((12, 20), np.uint8))
    (tmp_path / "classes.txt").write_text("a\nb\n")
    assert len(create_dataset(guess_dataset(tmp_path)).cases) == 4


def test_layouts_of_known_sets_are_recognised(cityscapes_set, tmp_path):
    cityscapes = cityscapes_set({"labelIds": np.full((8, 10), 7)})
    assert guess_dataset(cityscapes, split="val") == dict(type="cityscapes", root=str(cityscapes), split="val")
    (tmp_path / "ade/ADEChallengeData2016/annotations/training").mkdir(parents=True)
    assert guess_dataset(tmp_path / "ade")["type"] == "ade20k"


@pytest.mark.parametrize("split", ["all", "train"])
def test_guessed_training_and_validation_images_never_overlap(folder_set, split):
    root = folder_set([LABEL] * 10, split=split)
    if split == "all":
        for kind in ("images", "labels"):
            for path in (root / kind / "all").iterdir():
                path.rename(root / kind / path.name)
    train, val = (create_dataset(guess_dataset(root, split=split)).cases for split in ("train", "val"))
    assert (len(train), len(val)) == (8, 2)
    assert not set(train) & set(val)


def test_a_val_folder_is_used_whole(folder_set):
    folder_set([LABEL] * 6)
    root = folder_set([LABEL] * 3, split="val")
    assert [len(create_dataset(guess_dataset(root, split=split))) for split in ("train", "val")] == [6, 3]


def test_an_unknown_layout_is_said_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"neither a Cityscapes layout .* nor a folder with images/train") as caught:
        guess_dataset(tmp_path)
    assert "\n" not in str(caught.value)
