"""Expected calibration error and Brier score."""

import numpy as np
import pytest
import torch
from monai.metrics import CalibrationErrorMetric

from densevit.metrics import Calibration

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:monai")


def make_case(size=(12, 14), classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.randn(classes, *size, generator=generator).mul(2).softmax(0)
    return probabilities, torch.randint(classes, size, generator=generator)


@pytest.mark.parametrize("size", [(12, 14), (6, 7, 8)], ids=str)
def test_the_error_by_class_is_that_of_monai(size):
    probabilities, truth = make_case(size)
    ours = Calibration(3, bins=10)
    ours.update(probabilities, truth)
    theirs = CalibrationErrorMetric(num_bins=10, metric_reduction="none", include_background=True)
    theirs(probabilities[None], torch.nn.functional.one_hot(truth, 3).movedim(-1, 0)[None].float())
    assert ours.compute().ece_class.numpy() == pytest.approx(theirs.aggregate().numpy().ravel(), abs=1e-6)


def test_each_score_is_its_definition_and_ignored_voxels_count_nowhere():
    probabilities, truth = make_case()
    truth[:3] = 255
    calibration = Calibration(3, bins=15)
    for part in (slice(0, 7), slice(7, None)):  # in two cases
        calibration.update(probabilities[:, part], truth[part])
    known = truth != 255
    p, y = probabilities[:, known].double().numpy(), truth[known].numpy()
    confidence, right = p.max(0), p.argmax(0) == y
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    scores = calibration.compute()
    assert scores.ece_top == pytest.approx(expected)
    assert scores.brier == pytest.approx(((p - np.eye(3)[y].T) ** 2).sum(0).mean())


def test_a_sure_and_right_prediction_has_no_error():
    truth = make_case()[1]
    calibration = Calibration(3)
    calibration.update(torch.nn.functional.one_hot(truth, 3).movedim(-1, 0).float(), truth)
    scores = calibration.compute()
    assert (scores.ece_top, scores.brier, scores.ece_class.sum().item()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, y: (p[:2], y), "expected probabilities"),
        (lambda p, y: (p, y + 5), "labels must be 0 to 2"),
        (lambda p, y: (p * 3, y), "softmax"),
    ],
)
def test_what_are_no_probabilities_of_these_labels_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Calibration(3).update(*change(*make_case()))
