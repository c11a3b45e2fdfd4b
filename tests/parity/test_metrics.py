"""Metrics beside other projects' packages, on the shapes that definitions differ on; each difference is a test."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.distance import cdist

from densevit.metrics import (
    Calibration,
    Counts,
    LesionOptions,
    border_distances,
    centreline_dice,
    score_lesions,
    surfel_distances,
)
from densevit.metrics import distances as mm
from tests.metrics.shapes import CASES, KINDS, make_pair
from tools.peers import import_peer, import_torchvision_shim

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # the peers warn of each other's age
on_all_pairs = pytest.mark.parametrize(("size", "spacing", "kind"), [(*c, k) for c in CASES for k in KINDS], ids=str)


def balls(*places, size=(24, 24, 24), radius=3):
    grid = np.indices(size)
    return np.any(
        [sum((g - c) ** 2 for g, c in zip(grid, place, strict=True)) <= radius**2 for place in places], axis=0
    )


def counts_of(prediction, truth):
    pairs = ((prediction, truth), (prediction, ~truth), (~prediction, truth), (~prediction, ~truth))
    return Counts(*(int((a & b).sum()) for a, b in pairs))


@on_all_pairs
def test_surfels_are_those_of_surface_distance(kind, size, spacing):
    peer = import_peer("surface_distance")
    prediction, truth = make_pair(kind, size)
    theirs = peer.compute_surface_distances(truth, prediction, spacing)
    ours = surfel_distances(prediction, truth, spacing)
    assert mm.hd95_surfel(ours) == pytest.approx(peer.compute_robust_hausdorff(theirs, 95), abs=1e-9)
    assert mm.masd(ours) == pytest.approx(np.mean(peer.compute_average_surface_distance(theirs)), abs=1e-9)
    for tolerance in (0.0, 1.0, 2.6):
        expected = peer.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert mm.nsd(ours, tolerance) == pytest.approx(expected, abs=1e-9)
        shares = [s[d <= tolerance].sum() / s.sum() for d, s in reversed(ours.sides)]
        assert shares == pytest.approx(peer.compute_surface_overlap_at_tolerance(theirs, tolerance), abs=1e-9)


def test_a_distance_that_rounding_puts_above_the_tolerance_is_within_it_here_alone():
    peer = import_peer("surface_distance")
    prediction, truth = np.zeros((2, 9, 9, 9), bool)
    truth[4, 4, 4] = prediction[4, 7, 5] = True  # 3 x 0.8 and 0.7 mm away: 2.5 mm
    theirs = peer.compute_surface_distances(truth, prediction, (3.0, 0.8, 0.7))
    ours = surfel_distances(prediction, truth, (3.0, 0.8, 0.7))
    assert peer.compute_robust_hausdorff(theirs, 100) == pytest.approx(2.5)
    assert peer.compute_surface_dice_at_tolerance(theirs, 2.5) < mm.nsd(ours, 2.5) == 1


@pytest.mark.parametrize("filled", [(False, True), (True, False), (False, False)])
def test_what_surface_distance_says_of_empty_masks_is_left_to_policies(filled, monkeypatch):
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)  # numpy 2 lacks what it calls
    peer = import_peer("surface_distance")
    prediction, truth = (balls((12, 12, 12)) & there for there in filled)
    theirs = peer.compute_surface_distances(truth, prediction, (1, 1, 1))
    ours = surfel_distances(prediction, truth)
    assert not ours.defined
    assert np.isinf(peer.compute_robust_hausdorff(theirs, 95))
    assert peer.compute_surface_dice_at_tolerance(theirs, 1) == pytest.approx(0 if any(filled) else np.nan, nan_ok=True)


@on_all_pairs
def test_distances_and_overlaps_are_those_of_panoptica(kind, size, spacing):
    peer = import_peer("panoptica.metrics").Metric
    prediction, truth = make_pair(kind, size)
    found, counts = border_distances(prediction, truth, spacing), counts_of(prediction, truth).values()

    def theirs(name, **options):
        return peer[name](truth, prediction, **options)

    assert counts["dice"] == pytest.approx(theirs("DSC"))
    assert counts["iou"] == pytest.approx(theirs("IOU"))
    assert mm.hd(found) == pytest.approx(theirs("HD", voxelspacing=spacing))
    assert mm.hd95_pooled(found) == pytest.approx(theirs("HD95", voxelspacing=spacing))
    assert mm.masd(found) == pytest.approx(theirs("ASSD", voxelspacing=spacing))
    assert prediction.sum() / truth.sum() - 1 == pytest.approx(theirs("RVD"))
    cldice = centreline_dice(prediction, truth)  # 0 where no skeleton lies in the other mask: theirs divides by 0
    assert cldice == pytest.approx(np.nan_to_num(theirs("clDSC")))
    share = [(d <= 2).mean() for d, _ in found.sides]  # their NSD is the mean of what ours pools
    assert np.mean(share) == pytest.approx(theirs("NSD", voxelspacing=spacing, threshold=2))


def evaluator(matcher):
    peer = import_peer("panoptica")
    metric = peer.Metric
    return peer.Panoptica_Evaluator(
        expected_input=peer.InputType.SEMANTIC,
        instance_approximator=peer.ConnectedComponentsInstanceApproximator(),
        instance_matcher=matcher(peer, metric),
        instance_metrics=[metric.DSC, metric.IOU],
        global_metrics=[metric.DSC],
    )


def panoptica(prediction, truth, matcher):
    (result,) = evaluator(matcher).evaluate(prediction.astype(np.uint8), truth.astype(np.uint8)).values()
    return result


def above(iou):
    return lambda peer, metric: peer.NaiveThresholdMatching(matching_metric=metric.IOU, matching_threshold=iou)


@pytest.mark.parametrize("size", [(40, 36), (18, 20, 22)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_panoptic_quality_is_that_of_panoptica(size, seed):
    prediction, truth = make_pair("blobs", size, seed)
    theirs = panoptica(prediction, truth, above(0.5 + 1e-9))
    connectivity = 1 if len(size) == 2 else None  # theirs are components of pictures by sides, of volumes by corners
    ours = score_lesions(prediction, truth, options=LesionOptions(connectivity=connectivity), with_hd95=False)
    assert ours.panoptic_quality == pytest.approx(theirs.pq)
    assert ours.segmentation_quality == pytest.approx(theirs.sq)
    assert ours.recognition_quality == pytest.approx(theirs.rq)


def test_an_iou_of_one_half_is_a_match_in_panoptica_and_not_in_the_definition():
    prediction, truth = np.zeros((2, 12, 12), bool)
    truth[2:4, 2:6], prediction[2:4, 2:4] = True, True
    assert panoptica(prediction, truth, above(0.5)).rq == 1
    assert score_lesions(prediction, truth, with_hd95=False).recognition_quality == 0


def one_to_one(peer, metric):
    """As brats_evaluation's file of options for gliomas says."""
    return peer.MaxBipartiteMatching(matching_metric=metric.DSC, matching_threshold=1e-6)


def test_lesions_that_have_one_partner_score_as_in_the_challenges_since_2025():
    truth = balls((5, 5, 5), (5, 17, 5), (17, 5, 17))
    prediction = balls((5, 6, 5), (5, 17, 7), (18, 18, 4))  # the third is missed, and one is false
    theirs, ours = panoptica(prediction, truth, one_to_one), score_lesions(prediction, truth, with_hd95=False)
    assert (theirs.tp, theirs.fp, theirs.fn) == (2, 1, 1)
    assert ours.f1 == pytest.approx(theirs.rq)
    assert ours.dice == pytest.approx(theirs.sq_dsc * 2 / 4)  # theirs is a mean over what was found


def test_a_lesion_found_in_two_parts_has_both_in_2023_and_the_larger_one_since_2025():
    truth = balls((12, 12, 12), radius=8)
    prediction = truth.copy()
    prediction[:, 14:16] = False
    parts = ndimage.label(prediction)[0]
    larger = counts_of(parts == np.bincount(parts[parts > 0]).argmax(), truth).values()["dice"]
    theirs, ours = panoptica(prediction, truth, one_to_one), score_lesions(prediction, truth, with_hd95=False)
    assert theirs.sq_dsc == pytest.approx(larger)
    assert (theirs.tp, theirs.fp) == (1, 1)
    assert ours.dice == pytest.approx(counts_of(prediction, truth).values()["dice"])
    assert ours.f1 == 1


@pytest.mark.parametrize("filled", [(False, True), (True, False)])
def test_lesions_of_an_empty_mask_are_missed_or_false_in_panoptica_too(filled):
    prediction, truth = (balls((12, 12, 12)) & there for there in filled)
    theirs = panoptica(prediction, truth, one_to_one)
    ours = score_lesions(prediction, truth, options=LesionOptions(connectivity=1), with_hd95=False)
    assert ours.f1 == theirs.rq == 0


@on_all_pairs
def test_overlaps_and_hausdorff_are_those_of_simpleitk(kind, size, spacing):
    peer = import_peer("SimpleITK")
    prediction, truth = make_pair(kind, size)
    images = [peer.GetImageFromArray(mask.astype(np.uint8)) for mask in (prediction, truth)]
    for image in images:
        image.SetSpacing(spacing[::-1])
    overlap, hausdorff = peer.LabelOverlapMeasuresImageFilter(), peer.HausdorffDistanceImageFilter()
    overlap.Execute(*images)
    hausdorff.Execute(*images)
    counts = counts_of(prediction, truth)
    assert counts.values()["dice"] == pytest.approx(overlap.GetDiceCoefficient())
    assert counts.values()["iou"] == pytest.approx(overlap.GetJaccardCoefficient())
    # Its Hausdorff distance is that of the filled masks: border voxels within the other mask are 0 away from it.
    a, b = (np.argwhere(mask) * spacing for mask in (prediction, truth))
    table = cdist(a, b)
    filled = max(table.min(1).max(), table.min(0).max())
    assert hausdorff.GetHausdorffDistance() == pytest.approx(filled, rel=1e-5)
    ours = mm.hd(border_distances(prediction, truth, spacing))
    assert ours >= filled - 1e-9
    if not (prediction & truth).any():
        assert ours == pytest.approx(filled)


@pytest.fixture(params=[(40, 36), (10, 12, 14)], ids=str)
def told(request):
    """Probabilities (4, *S) and labels (*S) of which some are ignored."""
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(4, *request.param, generator=generator).mul(2).softmax(0)
    truth = torch.randint(0, 4, request.param, generator=generator)
    truth[0] = 255
    return probabilities, truth


def calibration_of(told):
    ours = Calibration(4)
    ours.update(*told)
    return ours.compute()


def test_the_calibration_error_of_the_likeliest_class_is_that_of_torchmetrics(told):
    import_torchvision_shim()  # which torchmetrics imports
    peer = import_peer("torchmetrics.functional.classification")
    options = dict(num_classes=4, n_bins=15, norm="l1", ignore_index=255)
    expected = peer.multiclass_calibration_error(*(each[None] for each in told), **options)
    assert calibration_of(told).ece_top == pytest.approx(expected.item(), abs=1e-6)


def test_the_brier_score_is_that_of_scikit_learn(told):
    peer = import_peer("sklearn.metrics")
    probabilities, truth = told
    known = truth != 255
    options = dict(labels=range(4), scale_by_half=False)
    expected = peer.brier_score_loss(truth[known].numpy(), probabilities[:, known].T.double().numpy(), **options)
    assert calibration_of(told).brier == pytest.approx(expected, abs=1e-6)
