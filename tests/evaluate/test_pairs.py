"""Which prediction belongs to which truth."""

import pytest

from densevit.evaluate.pairs import find_images, find_pairs, read_columns, read_manifest


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def cases(pairs):
    return {pair.case: pair.prediction and pair.prediction.name for pair in pairs.pairs}


def test_files_are_paired_by_name_whatever_they_end_in(tmp_path):
    truth = make(tmp_path / "truth", "a.nii.gz", "b.nrrd", "c.mha")
    predicted = make(tmp_path / "predicted", "a.nii.gz", "b.nii.gz", "d.nii.gz")
    pairs = find_pairs(predicted, truth)
    assert cases(pairs) == {"a": "a.nii.gz", "b": "b.nii.gz", "c": None}
    assert pairs.missing == ["c"]
    assert [path.name for path in pairs.unmatched] == ["d.nii.gz"]


@pytest.mark.parametrize("place", ["frankfurt/", ""])
def test_labels_of_cityscapes_are_paired_with_predictions_in_cities_or_in_one_folder(tmp_path, place):
    names = [f"frankfurt/f_0_gtFine_{kind}.png" for kind in ("labelIds", "labelTrainIds", "color", "instanceIds")]
    truth = make(tmp_path / "truth", *names, "frankfurt/f_0_gtFine_polygons.json")
    predicted = make(tmp_path / "predicted", f"{place}f_0_leftImg8bit.png")
    (pair,) = find_pairs(predicted, truth).pairs
    assert (pair.truth.name, pair.prediction.name) == ("f_0_gtFine_labelIds.png", "f_0_leftImg8bit.png")
    (pair,) = find_pairs(predicted, truth, train_ids=True).pairs
    assert pair.truth.name == "f_0_gtFine_labelTrainIds.png"


def test_names_that_are_in_two_folders_are_not_paired_by_their_last_part(tmp_path):
    truth = make(tmp_path / "truth", "x/1.png", "y/1.png")
    with pytest.raises(ValueError, match=r"no file of .*predicted.*called like one of .*--manifest"):
        find_pairs(make(tmp_path / "predicted", "1.png"), truth)


def test_two_predictions_of_one_case_are_refused(tmp_path):
    truth = make(tmp_path / "truth", "a.nii.gz")
    with pytest.raises(ValueError, match=r"a\.nii and .*a\.nii\.gz would both be a"):
        find_pairs(make(tmp_path / "predicted", "a.nii.gz", "a.nii"), truth)


def test_an_empty_folder_is_refused(tmp_path):
    truth = make(tmp_path / "truth", "a.nii.gz")
    (tmp_path / "predicted").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no label maps"):
        find_pairs(tmp_path / "predicted", truth)


def test_a_file_and_a_folder_are_refused(tmp_path):
    truth = make(tmp_path / "truth", "a.nii.gz")
    with pytest.raises(ValueError, match="two files or two folders"):
        find_pairs(truth / "a.nii.gz", truth)


def test_a_manifest_says_what_belongs_together_and_what_else_is_known(tmp_path):
    make(tmp_path, "p/one.png", "t/eins.png", "t/zwei.png")
    (tmp_path / "pairs.csv").write_text("prediction,truth,patient\np/one.png,t/eins.png,A\np/two.png,t/zwei.png,B\n")
    pairs = read_manifest(tmp_path / "pairs.csv")
    assert cases(pairs) == {"eins": "one.png", "zwei": None}
    assert pairs.columns["zwei"]["patient"] == "B"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("prediction,label\na,b\n", "no column 'truth'"),
        ("prediction,truth\na.png,b.png\nc.png,b.png\n", "two lines of the case 'b'"),
    ],
)
def test_a_manifest_that_says_it_otherwise_is_refused(tmp_path, text, match):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(ValueError, match=match):
        read_manifest(tmp_path / "pairs.csv")


def test_a_table_must_speak_of_every_case(tmp_path):
    (tmp_path / "table.csv").write_text("case,site\na,X\n")
    assert read_columns(tmp_path / "table.csv", ["a"])["a"]["site"] == "X"
    with pytest.raises(ValueError, match="says nothing of 1 of 2 cases, such as b"):
        read_columns(tmp_path / "table.csv", ["a", "b"])
    (tmp_path / "table.csv").write_text("case,site\na,X\na,Y\n")
    with pytest.raises(ValueError, match="two lines of the case 'a' that say different things"):
        read_columns(tmp_path / "table.csv", ["a"])


def test_a_cell_of_a_table_may_hold_any_character_that_a_name_may(tmp_path):
    case = 'one\ntwo, "three"\u2028\x1c'
    quoted = case.replace('"', '""')
    (tmp_path / "table.csv").write_text(f'case,site\n"{quoted}",X\n', encoding="utf-8")
    assert read_columns(tmp_path / "table.csv", [case]) == {case: {"case": case, "site": "X"}}


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("a.jpg", "a"),
        ("town/a_leftImg8bit.png", "town/a"),
        ("case_7_0000.nii.gz", "case_7"),
        ("hippocampus_0001.nii.gz", "hippocampus_0001"),
        ("photos/a.png", "town/a"),
    ],
)
def test_images_are_found_by_the_names_of_cases(tmp_path, name, case):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert find_images(tmp_path, [case, "other"]) == {case: path}


def test_the_first_of_several_channels_is_the_image(tmp_path):
    for channel in range(3):
        (tmp_path / f"a_000{channel}.nii.gz").touch()
    assert find_images(tmp_path, ["a"]) == {"a": tmp_path / "a_0000.nii.gz"}


def test_a_folder_of_other_images_is_refused(tmp_path):
    (tmp_path / "b.png").touch()
    with pytest.raises(ValueError, match="no image that is called as a case is, such as a"):
        find_images(tmp_path, ["a"])
