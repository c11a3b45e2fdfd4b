"""Files, folders and globs to pictures and names."""

import pytest

from densevit.predictor.pictures import find_pictures
from tests.predictor.common import save_photo


def test_pictures_keep_their_path_below_the_folder(photos):
    names = [str(picture.name) for picture in find_pictures(photos, recursive=True)]
    assert names == ["a", "b", "deeper/a"]
    assert [str(picture.name) for picture in find_pictures(photos)] == ["a", "b"]


def test_a_glob_keeps_the_path_below_its_fixed_part(photos):
    assert [str(picture.name) for picture in find_pictures(f"{photos}/**/*.png")] == ["a", "deeper/a"]
    assert [str(picture.name) for picture in find_pictures(str(photos / "dee*" / "*"))] == ["deeper/a"]


def test_a_picture_named_twice_is_one_picture(photos):
    assert len(find_pictures([photos, photos / "a.png", f"{photos}/*.png"])) == 2


def test_a_file_with_wildcards_in_its_name_is_that_file(tmp_path):
    path = save_photo(tmp_path / "a[1].png")
    assert [picture.path for picture in find_pictures(path)] == [path]


def test_other_and_hidden_files_are_not_pictures(photos):
    (photos / "notes.txt").write_text("no picture")
    (photos / "._a.png").write_bytes(b"left by an archive")
    assert len(find_pictures(photos)) == 2


def test_inputs_that_name_nothing_are_told(tmp_path, photos):
    (tmp_path / "empty").mkdir()
    for named, sentence in [
        (tmp_path / "none.png", "no such file or folder"),
        (tmp_path / "empty", "holds no image"),
        (f"{photos}/*.bmp", "no input matches"),
        ([], "no input was given"),
    ]:
        with pytest.raises(FileNotFoundError, match=sentence):
            find_pictures(named)


def test_a_folder_with_pictures_in_subfolders_only_names_the_switch(photos):
    with pytest.raises(FileNotFoundError, match="its subfolders hold 3: add --recursive"):
        find_pictures(photos.parent)


def test_an_empty_input_is_not_the_working_folder():
    with pytest.raises(FileNotFoundError, match="empty text"):
        find_pictures([""], recursive=True)


def test_two_pictures_of_one_folder_and_name_are_told_with_what_helps(photos):
    save_photo(photos / "a.jpg")
    with pytest.raises(ValueError, match=r"both be written as a\.png: rename one, or predict them in two runs"):
        find_pictures(photos)


def test_pictures_of_one_name_in_several_folders_are_called_from_the_nearest_folder_of_all(photos, tmp_path):
    folders = [save_photo(tmp_path / "study" / name / "x.png").parent for name in ("p1", "p2")]
    save_photo(tmp_path / "study" / "p2" / "y.png")
    assert [picture.name for picture in find_pictures(folders)] == ["p1/x", "p2/x", "p2/y"]
    assert [picture.name for picture in find_pictures(folders[1])] == ["x", "y"]
    assert [picture.name for picture in find_pictures([photos / "a.png", photos / "deeper" / "a.png"])] == [
        "a",
        "deeper/a",
    ]
