import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from densevit import ConfusionMatrix
from densevit.metrics import scores_from_counts
from densevit.metrics.scores import COLUMNS
from tools.peers import import_mmseg

CLASSES = ["road", "sky", "car", "train"]


def make_images(num_classes, *, absent=(), seed=0, size=(40, 50), images=3):
    """Predictions that are right three times out of four; classes in `absent` occur nowhere."""
    generator = torch.Generator().manual_seed(seed)
    present = torch.tensor([k for k in range(num_classes) if k not in absent])
    pairs = []
    for _ in range(images):
        label = present[torch.randint(len(present), size, generator=generator)]
        noise = present[torch.randint(len(present), size, generator=generator)]
        prediction = label.where(torch.rand(size, generator=generator) < 0.75, noise)
        label[torch.rand(size, generator=generator) < 0.1] = 255
        pairs.append((prediction, label))
    return pairs


def score(pairs, num_classes):
    matrix = ConfusionMatrix(num_classes)
    for prediction, label in pairs:
        matrix.update(prediction, label)
    return matrix.compute()


def test_scores_of_a_matrix_counted_by_hand():
    # rows are the truth: 6 pixels of class 0 (4 hit), 4 of class 1 (3 hit), class 2 is only predicted, class 3 absent
    scores = scores_from_counts(torch.tensor([[4, 1, 1, 0], [1, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
    nan = math.nan
    expected = dict(
        iou=[4 / 7, 3 / 5, 0, nan],
        acc=[4 / 6, 3 / 4, nan, nan],
        dice=[8 / 11, 6 / 8, 0, nan],
        precision=[4 / 5, 3 / 4, 0, nan],
        recall=[4 / 6, 3 / 4, nan, nan],
        fscore=[8 / 11, 6 / 8, 0, nan],
    )
    for field, values in expected.items():
        assert_close(getattr(scores, field), torch.tensor(values, dtype=torch.float64), equal_nan=True)
    assert scores.aAcc == pytest.approx(7 / 10)
    assert scores.mIoU == pytest.approx((4 / 7 + 3 / 5) / 3)
    assert scores.mAcc == pytest.approx((4 / 6 + 3 / 4) / 2)
    assert scores.mDice == pytest.approx((8 / 11 + 6 / 8) / 3)


@pytest.mark.parity
@pytest.mark.parametrize("absent", [(), (1, 6)], ids=["all classes", "two classes absent"])
def test_scores_are_those_of_mmseg(absent):
    import_mmseg()
    from mmseg.evaluation import IoUMetric

    pairs = make_images(7, absent=absent)
    areas = [IoUMetric.intersect_and_union(p.clone(), y.clone(), 7, 255) for p, y in pairs]
    totals = [sum(each) for each in zip(*areas, strict=True)]
    theirs = IoUMetric.total_area_to_metrics(*totals, metrics=["mIoU", "mDice", "mFscore"])
    ours = score(pairs, 7)
    assert ours.aAcc == pytest.approx(theirs["aAcc"], abs=1e-6)
    for column, field in COLUMNS.items():
        expected, found = np.array(theirs[column]), getattr(ours, field).float().numpy()
        if column in ("Fscore", "Precision"):  # which leave out classes that were missed or made up
            expected = np.where(np.isnan(expected) & ~np.isnan(np.array(theirs["Dice"])), 0, expected)
        assert_close(found, expected.astype(np.float32), equal_nan=True, rtol=1e-5, atol=0)
        assert getattr(ours, f"m{column}") == pytest.approx(np.nanmean(expected), abs=1e-6)


@pytest.mark.parity
def test_the_table_holds_the_rows_that_mmseg_prints(monkeypatch):
    mmseg = import_mmseg()
    from mmseg.evaluation.metrics import iou_metric

    printed = []
    monkeypatch.setattr(iou_metric, "print_log", lambda message, logger=None: printed.append(message))
    metric = mmseg.evaluation.IoUMetric(iou_metrics=["mIoU", "mDice", "mFscore"])
    metric.dataset_meta = dict(classes=CLASSES)
    pairs = make_images(4)
    summary = metric.compute_metrics([metric.intersect_and_union(p.clone(), y.clone(), 4, 255) for p, y in pairs])
    ours = score(pairs, 4)
    theirs = [row for row in _cells(printed[-1]) if row[0] in CLASSES]
    rows = [row for row in _cells(ours.table(CLASSES)) if row[0] in CLASSES]
    assert _cells(ours.table(CLASSES))[0] == _cells(printed[-1])[0] == ["Class", *COLUMNS]
    assert [row[0] for row in rows] == CLASSES
    for our_row, their_row in zip(rows, theirs, strict=True):
        assert [float(x) for x in our_row[1:]] == pytest.approx([float(x) for x in their_row[1:]], abs=0.011)
    for name, value in summary.items():
        assert ours.as_dict(CLASSES)[name] == pytest.approx(float(value), abs=0.0051)


def _cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]


def test_the_table_is_in_percent_with_two_decimals():
    table = scores_from_counts(torch.tensor([[2, 1], [0, 0]])).table(["road", "sky"])
    assert _cells(table)[:3] == [
        ["Class", "IoU", "Acc", "Dice", "Fscore", "Precision", "Recall"],
        ["road", "66.67", "66.67", "80.00", "80.00", "100.00", "66.67"],
        ["sky", "0.00", "nan", "0.00", "0.00", "0.00", "nan"],
    ]
    assert _cells(table)[3][:3] == ["aAcc", "mIoU", "mAcc"]
    assert _cells(table)[4][:3] == ["66.67", "33.33", "66.67"]
    assert len({len(line) for line in table.split("\n\n")[1].splitlines()}) == 1


def test_the_dictionary_is_json_in_percent_with_none_for_nan():
    scores = scores_from_counts(torch.tensor([[2, 1], [0, 0]]))
    values = json.loads(json.dumps(scores.as_dict(["road", "sky"]), allow_nan=False))
    assert values["aAcc"] == pytest.approx(200 / 3)
    assert values["mIoU"] == pytest.approx(100 / 3)
    assert values["classes"]["road"]["Precision"] == 100
    assert values["classes"]["sky"] == dict(IoU=0, Acc=None, Dice=0, Fscore=0, Precision=0, Recall=None)


def test_no_counted_pixel_at_all_gives_nan_and_none_but_no_error():
    scores = ConfusionMatrix(2).compute()
    assert math.isnan(scores.mIoU)
    assert math.isnan(scores.aAcc)
    assert scores.as_dict(["road", "sky"])["mIoU"] is None
    assert "nan" in scores.table(["road", "sky"])


def test_a_wrong_number_of_class_names_is_explained():
    with pytest.raises(ValueError, match="expected 2 different class names, got"):
        ConfusionMatrix(2).compute().table(["road"])


def test_a_class_always_missed_lowers_the_dice_mean():
    perfect_but_one = scores_from_counts(torch.tensor([[9, 0], [1, 0]]))
    assert perfect_but_one.dice[1] == 0
    assert perfect_but_one.mDice == pytest.approx(18 / 19 / 2)


def test_a_missed_class_lowers_every_mean():
    scores = scores_from_counts(torch.tensor([[6, 0], [2, 0]]))  # class 1 is never found
    assert scores.mFscore == scores.mDice == pytest.approx(12 / 14 / 2)
    assert scores.precision.tolist() == [6 / 8, 0]
    assert scores.mPrecision == pytest.approx(6 / 8 / 2)


def test_all_means_of_volumes_leave_out_the_background():
    scores = scores_from_counts(torch.tensor([[90, 0], [5, 5]]))
    cases = replace(scores, case_dice=torch.tensor([0.9, 0.5]))
    assert scores.mDice == pytest.approx((180 / 185 + 10 / 15) / 2)
    assert cases.mDice == cases.mFscore == pytest.approx(10 / 15)
    assert (cases.mIoU, cases.mAcc, cases.mCaseDice) == pytest.approx((0.5, 0.5, 0.5))
    assert cases.aAcc == scores.aAcc
    assert "summary, means without air" in cases.table(["air", "liver"])
