"""Classes files: whatever is wrong with them is one sentence that names the file; and names that no file has."""

import json

import pytest

from densevit.checkpoint import open_checkpoint
from densevit.cli import main
from densevit.data import create_dataset
from densevit.predictor.pictures import find_pictures
from densevit.predictor.scans import find_scans

WRONG = {
    "color_map": dict(color_map=["#000000"]),
    "a colour": dict(color_map={"road": "#zz"}),
    "label_map": dict(label_map={"x": 0}),
    "a power of two in label_map": dict(label_map={"²": 0}),
    "ignore_index": dict(ignore_index=1),
    "palette": dict(palette=[[1, 2, 3]]),
    "reduce_zero_label": dict(reduce_zero_label=True, label_map={"1": 0}),
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_what_is_wrong_in_a_classes_file_is_said_of_that_file(folder_set, content):
    root = folder_set([[[0, 1], [1, 2]]])
    (root / "classes.json").write_text(json.dumps(dict(classes=["road", "car", "tree"], **content)), encoding="utf-8")
    with pytest.raises(ValueError, match=r"classes\.json: "):
        create_dataset(dict(type="folder", root=str(root)))


def test_what_is_wrong_between_a_classes_file_and_the_config_is_said_of_both(folder_set):
    root = folder_set([[[0, 1], [1, 2]]])
    (root / "classes.json").write_text(json.dumps(dict(classes=["road", "car", "tree"], label_map={"7": 0})))
    with pytest.raises(
        ValueError, match=r"classes\.json and the keys of the set: reduce_zero_label cannot be combined"
    ):
        create_dataset(dict(type="folder", root=str(root), reduce_zero_label=True))


def test_a_null_byte_in_a_name_is_a_file_that_is_not_there(tmp_path, capsys):
    for find in (find_pictures, find_scans, open_checkpoint):
        with pytest.raises(FileNotFoundError, match=r"check the path|no checkpoint at"):
            find("a\0b.png")
    assert main(["predict", "a\0b", "c.png", "-o", str(tmp_path)]) == 2
    assert "Traceback" not in capsys.readouterr().err
