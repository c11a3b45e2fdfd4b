"""Lesion-wise scores and panoptic quality of connected components."""

import numpy as np
import pytest
import torch
from monai.metrics import compute_panoptic_quality
from scipy import ndimage

from densevit.metrics import Lesion, LesionOptions, f1_by_size, score_lesions
from tests.metrics.shapes import make_pair

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:monai")


def spots(*places, size=(40, 40), width=3):
    mask = np.zeros(size, bool)
    for place in places:
        mask[tuple(slice(p, p + width) for p in place)] = True
    return mask


def test_found_missed_and_false_lesions_are_told_apart():
    truth = spots((2, 2), (20, 20), (30, 5))
    prediction = spots((3, 2), (20, 20), (5, 30))
    scores = score_lesions(prediction, truth, (2.0, 0.5))
    found = {(lesion.true, lesion.found): 0 for lesion in scores.lesions}
    for lesion in scores.lesions:
        found[lesion.true, lesion.found] += 1
    assert found == {(True, True): 2, (True, False): 1, (False, False): 1}
    assert scores.dice == pytest.approx((2 / 3 + 1 + 0 + 0) / 4)
    assert scores.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    diagonal = np.hypot(80, 20)
    assert scores.hd95 == pytest.approx((2 + 0 + 2 * diagonal) / 4)


@pytest.mark.parametrize("size", [(40, 36), (18, 20, 22)], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_panoptic_quality_is_that_of_monai(size, seed):
    prediction, truth = make_pair("blobs", size, seed)
    maps = [ndimage.label(mask, np.ones((3,) * mask.ndim))[0] for mask in (prediction, truth)]
    scores = score_lesions(prediction, truth, with_hd95=False)
    flat = [torch.from_numpy(m.reshape(size[0], -1)).long() for m in maps]  # theirs knows pictures alone
    for name, ours in (
        ("pq", scores.panoptic_quality),
        ("sq", scores.segmentation_quality),
        ("rq", scores.recognition_quality),
    ):
        theirs = compute_panoptic_quality(*flat, metric_name=name, smooth_numerator=1e-9).item()
        assert ours == pytest.approx(theirs, abs=1e-6)


def test_dilation_joins_what_is_near_and_finds_what_is_beside():
    truth, prediction = spots((2, 2), (2, 7), size=(30, 30)), spots((7, 2), size=(30, 30))
    apart = score_lesions(prediction, truth)
    assert [lesion.found for lesion in apart.lesions] == [False, False, False]
    joined = score_lesions(prediction, truth, options=LesionOptions(dilation=3))
    assert [lesion.found for lesion in joined.lesions] == [True]
    assert joined.lesions[0].volume == 18
    assert joined.dice == 0


def test_small_lesions_count_nowhere_and_what_met_them_is_not_false():
    truth = spots((2, 2)) | spots((20, 20), width=6)
    options = LesionOptions(min_volume=9)
    scores = score_lesions(truth, truth, options=options)
    assert [(lesion.volume, lesion.dice) for lesion in scores.lesions] == [(36, 1)]


@pytest.mark.parametrize("connectivity", [1, 2, None])
def test_components_that_touch_at_a_corner_are_one_unless_connectivity_says_otherwise(connectivity):
    mask = spots((2, 2), (5, 5))
    scores = score_lesions(mask, mask, options=LesionOptions(connectivity=connectivity))
    assert len(scores.lesions) == (2 if connectivity == 1 else 1)


def test_nothing_has_no_score_and_one_side_has_the_worst():
    empty, some = spots(), spots((2, 2))
    assert np.isnan([score_lesions(empty, empty).dice, score_lesions(empty, empty).panoptic_quality]).all()
    for pair in ((empty, some), (some, empty)):
        scores = score_lesions(*pair)
        assert (scores.dice, scores.f1, scores.panoptic_quality) == (0, 0, 0)
        assert scores.hd95 == pytest.approx(np.hypot(40, 40))


def test_f1_by_size_counts_each_lesion_in_the_bin_of_its_volume():
    lesions = [
        Lesion(True, True, 5, 0.8, 1.0),
        Lesion(True, False, 8, 0.0, 9.0),
        Lesion(False, False, 50, 0.0, 9.0),
        Lesion(True, True, 100, 0.9, 1.0),
    ]
    bins = f1_by_size(lesions, [0, 10, 100])
    assert bins == {(0, 10): pytest.approx(2 / 3), (10, 100): 0.0, (100, np.inf): 1.0}
    assert np.isnan(f1_by_size([], [0])[0, np.inf])
