"""What is kept of label files that were compared."""

import numpy as np
import pytest
from PIL import Image

from densevit.evaluate.files import measure_files
from densevit.evaluate.pairs import find_pairs


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
