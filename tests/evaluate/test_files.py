"""What is kept of label files that were compared."""

import nibabel
import numpy as np
import pytest
from PIL import Image

from densevit.evaluate.files import measure_files
from densevit.evaluate.pairs import find_pairs
from densevit.evaluate.scores import score
from densevit.evaluate.structures import Structures
from densevit.metrics import summarize


@pytest.fixture
def pairs(tmp_path):
    """Three pictures of random classes and values that are ignored; one prediction is missing."""
    rng = np.random.default_rng(0)
    for name in ("truth", "predicted"):
        (tmp_path / name).mkdir()
        for i in range(3):
            label = rng.choice([0, 1, 2, 255] if name == "truth" else [0, 1, 2], (9, 11)).astype(np.uint8)
            Image.fromarray(label).save(tmp_path / name / f"{i}.png")
    (tmp_path / "predicted" / "2.png").unlink()
    return find_pairs(tmp_path / "predicted", tmp_path / "truth")


@pytest.mark.parametrize("missing", ["missed", "skip"])
def test_the_confusion_of_a_set_counts_every_pair_of_values(pairs, missing):
    measured = measure_files(pairs, missing=missing, with_confusion=True)
    expected = np.zeros((3, 4), int)  # the last column: nothing was predicted
    for pair in pairs.pairs:
        truth = np.asarray(Image.open(pair.truth))
        predicted = np.full(truth.shape, 3) if pair.prediction is None else np.asarray(Image.open(pair.prediction))
        if pair.prediction is not None or missing == "missed":
            np.add.at(expected, (truth[truth != 255], predicted[truth != 255]), 1)
    counted = {(i, j): int(expected[i, j]) for i, j in np.argwhere(expected)}
    assert measured.confusion == counted


def test_no_confusion_is_counted_unasked(pairs):
    assert measure_files(pairs).confusion == {}


def write(folder, *labels, ending="png"):
    """A file for each label: of pictures, or of volumes for "nii.gz"."""
    folder.mkdir()
    for i, label in enumerate(labels):
        if ending == "png":
            Image.fromarray(label).save(folder / f"{i}.png")
        else:
            nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), folder / f"{i}.nii.gz")
    return folder


def test_cases_without_any_structure_are_empty_in_both_and_do_not_vanish(tmp_path):
    there, nothing = np.zeros((2, 4, 5, 6), np.uint8)
    there[1:3, 1:3, 1:3] = 2
    truth = write(tmp_path / "truth", there, nothing, nothing, ending="nii.gz")
    predicted = write(tmp_path / "predicted", there, nothing, ending="nii.gz")
    (predicted / "2.nii.gz").write_bytes(b"damaged")
    measured = measure_files(find_pairs(predicted, truth))
    assert [(r.case, r.structure, r.status) for r in measured.records] == [
        ("0", "2", "found"),
        ("1", "2", "absent"),
        ("2", "2", "absent"),
    ]
    assert list(measured.failed) == ["2"]
    assert not measured.unscored
    scores = score(measured)
    assert scores.intervals["dice", None].cases == scores.intervals["dice", "2"].cases == 1


def test_a_set_without_any_structure_has_no_mean(tmp_path):
    folder = write(tmp_path / "empty", *np.zeros((2, 4, 5, 6), np.uint8), ending="nii.gz")
    row = summarize(measure_files(find_pairs(folder, folder)).records).row("dice")
    assert np.isnan(row.mean)
    assert (row.n, row.absent) == (0, 2)


@pytest.mark.parametrize("classes", [None, {"background": (0,), "object": (1,)}])
def test_masks_of_0_and_255_are_refused_until_255_is_named(tmp_path, classes):
    mask = np.zeros((6, 7), np.uint8)
    mask[2:4, 2:5] = 255
    folder = write(tmp_path / "masks", mask, mask * 0)
    pairs = find_pairs(folder, folder)
    with pytest.raises(ValueError, match=r'nothing but 0 and 255.* --classes .*"object": 255'):
        measure_files(pairs, classes and Structures(classes))
    measured = measure_files(pairs, Structures({"background": (0,), "object": (255,)}, ignored=()))
    assert [r.status for r in measured.records if r.structure == "object"] == ["found", "absent"]
