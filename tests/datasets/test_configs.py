"""Configs of data sets: a wrong one is refused in one sentence, and common layouts need none."""

import numpy as np
import pytest

from densevit.datasets import create_dataset, guess_dataset

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
    ],
)
def test_a_wrong_classes_file_is_named(folder_set, content, said):
    root = folder_set([LABEL])
    (root / "classes.json").write_text(content)
    with pytest.raises(ValueError, match=rf"classes\.json.*{said}"):
        create_dataset(dict(type="folder", root=root))


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
    assert len(create_dataset(guess_dataset(tmp_path)).files) == 4


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
    train, val = (create_dataset(guess_dataset(root, split=split)).files for split in ("train", "val"))
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
