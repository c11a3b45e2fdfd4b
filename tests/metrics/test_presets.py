"""The means of other tools, by their names: what each does with structures that are missed, false or absent."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric, HausdorffDistanceMetric, SurfaceDiceMetric, SurfaceDistanceMetric

from densevit.metrics import POLICIES, MeasureOptions, Policy, measure, summarize
from tests.metrics.shapes import make_pair
from tools.peers import import_mmseg

CLASSES = ["background", "one", "two", "three"]
SIZE = (24, 31)
ONE_HOT = torch.nn.functional.one_hot


def make_cases(*, never=()):
    """Predictions and truths in which each class is found, missed, false and absent in some case."""
    cases = []
    for seed in range(6):
        pair = [np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)]
        for label in (1, 2, 3):
            for i, mask in enumerate(make_pair("blobs", SIZE, 10 * seed + label)):
                if label not in never and (seed + label) % 4 not in (i, 2):
                    pair[i][mask] = label
        cases.append(tuple(pair))
    return cases


def records_of(cases, policy, spacing=None, **changes):
    options = replace(POLICIES[policy].options, **changes)
    return [
        record
        for i, (prediction, truth) in enumerate(cases)
        for record in measure(prediction, truth, CLASSES, spacing, options, case=str(i))
    ]


def test_each_class_is_found_missed_false_and_absent_in_some_case():
    statuses = {(record.structure, record.status) for record in records_of(make_cases(), "nnunet")}
    assert {status for _, status in statuses} >= {"found", "missed", "false", "absent"}


@pytest.mark.parametrize("never", [(), (2,)], ids=str)
def test_nnunet_takes_the_mean_of_cases_then_of_classes_and_nan_if_one_is_absent_everywhere(never):
    cases = make_cases(never=never)
    dice, means = np.full((len(cases), 3), np.nan), summarize(records_of(cases, "nnunet"), "nnunet")
    for i, (prediction, truth) in enumerate(cases):
        for label in (1, 2, 3):
            p, t = prediction == label, truth == label
            if (p | t).any():
                dice[i, label - 1] = 2 * (p & t).sum() / (p.sum() + t.sum())
    for label, name in enumerate(CLASSES[1:], start=1):
        if label not in never:
            assert means.row("dice", name).mean == pytest.approx(np.nanmean(dice[:, label - 1]), abs=1e-9)
    expected = np.nan if never else np.mean([np.nanmean(column) for column in dice.T])
    assert means.row("dice").mean == pytest.approx(expected, abs=1e-9, nan_ok=True)


@pytest.mark.filterwarnings("ignore")  # MONAI warns of every empty mask
@pytest.mark.parametrize("never", [(), (2,)], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "mean_batch"])
def test_monai_means_are_those_of_its_metrics(reduction, never):
    cases, spacing = make_cases(never=never), (0.8, 2.0)
    options = dict(include_background=False, reduction=reduction)
    theirs = {
        "dice": DiceMetric(**options),
        "hd95_max": HausdorffDistanceMetric(percentile=95, **options),
        "nsd_voxel@2": SurfaceDiceMetric(class_thresholds=[2.0] * 3, **options),
        "assd": SurfaceDistanceMetric(symmetric=True, **options),
    }
    for pair in cases:
        hot = [ONE_HOT(torch.from_numpy(labels).long(), 4).movedim(-1, 0)[None].float() for labels in pair]
        for name, metric in theirs.items():
            metric(*hot, **({} if name == "dice" else {"spacing": spacing}))
    ours = summarize(records_of(cases, "monai", spacing), "monai")
    for name, metric in theirs.items():
        expected = metric.aggregate().flatten().tolist()
        found = [ours.row(name).mean] if reduction == "mean" else [ours.row(name, c).mean for c in CLASSES[1:]]
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_mmseg_scores_are_those_of_its_metric():
    import_mmseg()
    from mmseg.evaluation.metrics import IoUMetric

    cases = make_cases(never=(2,))
    for prediction, truth in cases:
        prediction[prediction == 3] = 0  # always missed: its precision is nan, and not 0
        truth[:4, :4] = 255
    areas = [
        IoUMetric.intersect_and_union(torch.from_numpy(prediction), torch.from_numpy(truth), 4, 255)
        for prediction, truth in cases
    ]
    totals = [sum(parts) for parts in zip(*areas, strict=True)]
    theirs = IoUMetric.total_area_to_metrics(*totals, metrics=["mIoU", "mDice", "mFscore"])
    ours = summarize(records_of(cases, "mmseg"), "mmseg")
    names = {"iou": "IoU", "dice": "Dice", "precision": "Precision", "recall": "Recall", "fscore": "Fscore"}
    for name, column in names.items():
        found = [ours.row(name, c, level="set").mean for c in CLASSES]
        assert found == pytest.approx(theirs[column].tolist(), abs=1e-6, nan_ok=True)
        assert ours.row(name, level="set").mean == pytest.approx(np.nanmean(theirs[column]), abs=1e-6)


def test_cityscapes_scores_are_iou_of_all_pixels_by_class_and_category():
    """IoU = tp / (tp + fp + fn) over the set, of which pixels of an ignored truth are no part; absent classes count in
    no mean; a category is the union of its classes.
    """
    cases = make_cases(never=(2,))
    for _, truth in cases:
        truth[:4, :4] = 255
    counts = np.zeros((256, 256), int)
    for prediction, truth in cases:
        np.add.at(counts, (truth, prediction), 1)
    counts[255] = 0

    def iou(labels):
        labels = list(labels)
        tp = counts[labels][:, labels].sum()
        union = counts[labels].sum() + counts[:, labels].sum() - tp
        return tp / union if union else np.nan

    ours = summarize(records_of(cases, "cityscapes"), "cityscapes")
    expected = [iou([label]) for label in range(4)]
    assert [ours.row("iou", c, level="set").mean for c in CLASSES] == pytest.approx(expected, nan_ok=True)
    assert ours.row("iou", level="set").mean == pytest.approx(np.nanmean(expected))
    categories = {"flat": (0, 1), "object": (2, 3)}
    records = [
        record
        for i, (prediction, truth) in enumerate(cases)
        for record in measure(prediction, truth, categories, options=MeasureOptions(metrics=()), case=str(i))
    ]
    by_category = summarize(records, "cityscapes")
    for name, labels in categories.items():
        assert by_category.row("iou", name, level="set").mean == pytest.approx(iou(labels))


def spots(*places, size=(20, 24, 28), width=4):
    mask = np.zeros(size, np.uint8)
    for place in places:
        mask[tuple(slice(p, p + width) for p in place)] = 1
    return mask


@pytest.mark.parametrize(
    ("prediction", "truth", "dice", "hd95"),
    [  # as the script of the challenge counts: a lesion of 64 mm^3 is kept, 374 mm stand for each miss and false alarm
        (spots((2, 2, 2)), spots((2, 2, 2)), 1, 0),
        (spots(), spots((2, 2, 2)), 0, 374),
        (spots((2, 2, 2)), spots(), 0, 374),
        (spots(), spots(), 1, 0),
        (spots((2, 2, 2), (14, 14, 14)), spots((2, 2, 2)), 1 / 2, 374 / 2),
        (spots((2, 2, 2)), spots((2, 2, 2), (14, 14, 14)), 1 / 2, 374 / 2),
        (spots((2, 2, 2)), spots((2, 2, 2), (2, 2, 10)), 2 * 64 / (64 + 128), 8),  # near enough to be one lesion
        (spots((2, 2, 2)), spots((2, 2, 2)) | spots((14, 14, 14), width=3), 1, 0),  # of 27 mm^3: does not count
        (spots(), spots((14, 14, 14), width=3), 1, 0),
    ],
)
def test_brats2023_counts_lesions_as_the_challenge(prediction, truth, dice, hd95):
    records = measure(prediction, truth, {"whole": 1}, (1, 1, 1), POLICIES["brats2023"].options)
    summary = summarize(records, "brats2023")
    assert summary.row("lesion_dice", "whole").mean == pytest.approx(dice)
    assert summary.row("lesion_hd95", "whole").mean == pytest.approx(hd95)


def slabs(*ends, size=(10, 20, 16)):
    """Masks of the first planes of an array, which they fill up to its edges."""
    return [(np.indices(size)[0] < end).astype(np.uint8) for end in ends]


def lines(*ends):
    """Masks of the first voxels of a line, each of which is border."""
    masks = np.zeros((len(ends), 5, 5, 20), np.uint8)
    for mask, end in zip(masks, ends, strict=True):
        mask[2, 2, :end] = 1
    return masks


@pytest.mark.parametrize(
    ("masks", "dice", "difference", "assd", "most"),
    [
        # Six planes against four, 3 mm thick. The sides are the volume's edge: each border is the one plane inside,
        # and every distance is that of two planes, 6 mm.
        (slabs(6, 4), 2 * 4 / (6 + 4), 50, 6.0, 6.0),
        # Four voxels of 2 mm against ten: the four are 0 mm away, and 0, 0, 0, 0, 2, 4, ..., 12 mm the ten: 42 mm
        # over 14 voxels. The mean of the two directed means would be 2.1 mm.
        (lines(4, 10), 2 * 4 / (4 + 10), -60, 42 / 14, 12.0),
        (lines(10, 10), 1.0, 0, 0.0, 0.0),
    ],
    ids=["slabs", "lines", "equal"],
)
def test_chaos_has_no_border_at_the_edge_of_a_volume_and_pools_both_directions(masks, dice, difference, assd, most):
    (record,) = records = measure(*masks, {"liver": 1}, (3.0, 1.0, 2.0), POLICIES["chaos"].options)
    summary = summarize(records, "chaos")
    assert {name: summary.row(name, "liver").mean for name in ("dice", "assd", "hd")} == pytest.approx(
        {"dice": dice, "assd": assd, "hd": most}
    )
    assert 100 * record.volume_difference == pytest.approx(difference)


def test_a_policy_of_ones_own_is_a_value_and_an_unknown_name_is_refused():
    records = records_of(make_cases(), "nnunet")
    assert summarize(records, Policy("mine")).policy == "mine"
    with pytest.raises(ValueError, match="there are honest, nnunet"):
        summarize(records, "totalseg")
