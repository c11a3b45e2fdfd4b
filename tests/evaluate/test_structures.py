"""What the values of label maps mean."""

import json

import numpy as np
import pytest

from densevit.evaluate.structures import find_structures, read_structures


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"labels": {"background": 0, "liver": 1, "tumour": 2}},
        {"labels": {"0": "background", "1": "liver", "2": "tumour"}},
        {"background": 0, "liver": 1, "tumour": 2},
        {"classes": ["background", "liver", "tumour"]},
        ["background", "liver", "tumour"],
    ],
)
def test_classes_are_read_as_sets_write_them(tmp_path, content):
    found = read_structures(written(tmp_path / "classes.json", content))
    assert dict(found.labels) == {"background": (0,), "liver": (1,), "tumour": (2,)}
    assert found.ignored == (255,)


def test_regions_and_the_ignored_label_of_nnunet_are_known(tmp_path):
    labels = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    found = read_structures(written(tmp_path / "dataset.json", {"labels": labels}))
    assert dict(found.labels) == {"background": (0,), "whole": (1, 2), "core": (2,)}
    assert found.without_ignored(np.array([0, 3, 2], np.uint8)).tolist() == [0, 255, 2]


def test_255_may_be_a_class(tmp_path):
    found = read_structures(written(tmp_path / "c.json", {"background": 0, "building": 255, "ignore": 7}))
    assert found.without_ignored(np.array([0, 7, 255], np.uint8)).tolist() == [0, -1, 255]


@pytest.mark.parametrize("place", ["truth", "."])
def test_classes_are_found_beside_the_truth_and_above_it(tmp_path, place):
    (tmp_path / "truth").mkdir()
    written(tmp_path / place / "classes.txt", "sky\nroad\n")
    assert list(find_structures(None, tmp_path / "truth").labels) == ["sky", "road"]


def test_nothing_is_guessed_where_nothing_names_the_values(tmp_path):
    assert find_structures(None, tmp_path) is None


def test_label_ids_of_cityscapes_are_19_classes_and_the_others_are_ignored(tmp_path):
    found = find_structures("cityscapes", tmp_path)
    assert len(found.labels) == 19
    assert found.labels["road"] == (7,)
    assert found.without_ignored(np.array([0, 7, 33], np.uint8)).tolist() == [255, 7, 33]


def test_categories_of_cityscapes_hold_its_19_classes(tmp_path):
    classes, categories = (find_structures(f"cityscapes{end}", tmp_path) for end in ("", "_categories"))
    assert len(categories.labels) == 7
    assert sorted(v for each in categories.labels.values() for v in each) == [v for (v,) in classes.labels.values()]
    assert categories.ignored == classes.ignored


def test_a_value_that_has_no_name_is_refused(tmp_path):
    found = read_structures(written(tmp_path / "c.json", {"background": 0, "polyp": 1}))
    with pytest.raises(
        ValueError, match=r"prediction a\.png holds 7, 200, of which .*c\.json does not speak; .*--classes"
    ):
        found.check(np.array([0, 7, 200]), path="a.png", what="prediction")


@pytest.mark.parametrize("labels", [{"liver": "one"}, {"liver": []}, {"liver": -1}, {"liver": True}])
def test_labels_without_a_value_are_refused(tmp_path, labels):
    with pytest.raises(ValueError, match="a structure has a whole number"):
        read_structures(written(tmp_path / "c.json", labels))


def test_classes_by_colours_are_refused_with_a_way_on(tmp_path):
    content = {"classes": ["a", "b"], "color_map": {"a": [0, 0, 0], "b": [1, 1, 1]}}
    with pytest.raises(ValueError, match="names the values themselves"):
        read_structures(written(tmp_path / "c.json", content))
