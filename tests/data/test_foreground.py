"""Lists of where each class lies: complete for small classes, spread for large ones, the same however they are read."""

import numpy as np
import pytest

from densevit.data.foreground import draw_voxel, foreground_voxels


def random_label(size=(9, 7, 8), classes=4):
    return np.random.default_rng(0).integers(0, classes, size).astype(np.uint8)


def test_a_class_of_few_voxels_is_listed_completely():
    label = random_label()
    label[label == 2] = 0
    found = foreground_voxels(label, 5, limit=300)
    assert found.shape == (5, 300)
    for c in range(5):
        places = np.flatnonzero(label == c)
        np.testing.assert_array_equal(found[c, : len(places)], places)
        assert (found[c, len(places) :] == -1).all()


def test_a_class_of_many_voxels_is_listed_from_everywhere():
    label = np.zeros((40, 30, 30), np.uint8)
    label[:, :15] = 1
    found = foreground_voxels(label, 2, limit=100)
    assert (label.ravel()[found] == [[0], [1]]).all()
    assert (np.diff(found, axis=1) > 0).all()
    slices = found[1] // (30 * 30)
    assert np.bincount(slices // 10, minlength=4).tolist() == [25, 25, 25, 25]


def test_reading_in_pieces_misses_nothing(tmp_path):
    label = np.zeros((140, 130, 120), np.uint8)  # more than is looked at together
    places = np.sort(np.random.default_rng(0).choice(label.size, 300, replace=False))
    label.ravel()[places] = 1
    mapped = np.memmap(tmp_path / "label", np.uint8, "w+", shape=label.shape)
    mapped[:] = label
    for same in (label, mapped, label.T.copy().T):
        np.testing.assert_array_equal(foreground_voxels(same, 2, limit=300)[1], places)


def test_the_seed_alone_decides_which_voxels_are_kept():
    label = random_label((20, 20, 20))
    lists = [foreground_voxels(label, 4, limit=30, seed=seed) for seed in (1, 1, 2)]
    assert np.array_equal(lists[0], lists[1])
    assert not np.array_equal(lists[0], lists[2])


def test_ignored_voxels_are_in_no_list_and_a_value_without_class_is_refused():
    label = random_label()
    label[0] = 255
    assert (foreground_voxels(label, 4, limit=300) >= 7 * 8).sum() == 8 * 7 * 8
    with pytest.raises(ValueError, match="the label holds 3, and the classes are 0 to 2"):
        foreground_voxels(label, 3)
    with pytest.raises(ValueError, match="limit must be at least 1"):
        foreground_voxels(label, 4, limit=0)


def shares(listed, weights=None, draws=4000):
    """How often a voxel of each class is drawn; lists hold the class times 100 and more."""
    rng = np.random.default_rng(0)
    drawn = [draw_voxel(listed, rng.random(2), weights=weights) // 100 for _ in range(draws)]
    return np.bincount(drawn, minlength=len(listed)) / draws


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, (0, 1 / 2, 0, 1 / 2)),
        ((1, 1, 7, 2), (1 / 4, 1 / 4, 0, 1 / 2)),
        ((0, 0, 0, 3), (0, 0, 0, 1)),
    ],
)
def test_classes_that_are_there_are_drawn_by_their_weights_whatever_their_size(weights, expected):
    listed = np.full((4, 50), -1)
    for c, count in enumerate((50, 1, 0, 30)):
        listed[c, :count] = 100 * c + np.arange(count)
    np.testing.assert_allclose(shares(listed, weights), expected, atol=0.03)


def test_all_voxels_of_a_list_are_drawn():
    listed = np.array([[-1, -1, -1], [5, 7, -1]])
    rng = np.random.default_rng(0)
    assert {draw_voxel(listed, rng.random(2)) for _ in range(50)} == {5, 7}
    assert draw_voxel(listed, (0.0, 0.0)) == 5
    assert draw_voxel(listed, (np.nextafter(1, 0), np.nextafter(1, 0))) == 7


def test_a_case_of_background_alone_has_nothing_to_draw():
    assert draw_voxel(np.array([[3, 4], [-1, -1]]), (0.5, 0.5)) is None
    assert draw_voxel(np.array([[3, 4], [-1, -1]]), (0.5, 0.5), weights=(0, 1)) is None


def test_weights_for_another_number_of_classes_are_refused():
    with pytest.raises(ValueError, match="foreground_weights has 3 numbers for 2 classes"):
        draw_voxel(np.array([[3], [4]]), (0.5, 0.5), weights=(0, 1, 1))
