"""Text that comes with a data set: whatever is wrong with it is one sentence that names the file."""

import json

import pytest

from densevit.checkpoint import open_checkpoint
from densevit.cli import main
from densevit.data import create_dataset
from densevit.predictor.inputs import find_pictures
from densevit.predictor.scans import find_scans
from densevit.train.config.config import load_config

NO_JSON = {
    "latin 1": (b'["stra\xdfe"]', "is not text in UTF-8"),
    "deep": (b"[" * 100_000, "holds lists or objects within one another"),
    "cut off": (b'{"classes": ["a"', "is not valid JSON"),
    "a number without end": (b"1" * 5000, "is not valid JSON"),
}


@pytest.mark.parametrize(("content", "said"), NO_JSON.values(), ids=NO_JSON)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("folder", "classes.json"),
        ("msd", "dataset.json"),
        ("nnunet", "dataset.json"),
        ("monai_datalist", "datalist.json"),
    ],
)
def test_json_that_cannot_be_read_is_named(folder_set, kind, name, content, said):
    root = folder_set([[[0, 1], [1, 2]]])
    (root / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} {said}"):
        create_dataset(dict(type=kind, root=str(root)))


@pytest.mark.parametrize("name", ["a.json", "a.yaml", "a.py"])
@pytest.mark.parametrize("content", [b"# stra\xdfe", b"[" * 100_000])
def test_a_config_that_cannot_be_read_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}"):
        load_config(tmp_path / name)


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
