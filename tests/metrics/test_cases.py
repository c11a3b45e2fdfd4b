"""Dice by case: each volume counts once, however large it is."""

import pytest
import torch

from densevit.metrics import MeasureOptions, measure, scores_from_counts, scores_from_records


def case_dice(*pairs, classes="ab"):
    """Dice by class of pairs of prediction and label."""
    options = MeasureOptions(metrics=(), include_background=True)
    cases = [
        measure(*map(torch.tensor, pair), list(classes), None, options, case=str(i)) for i, pair in enumerate(pairs)
    ]
    return scores_from_records([record for case in cases for record in case], by_case=True).case_dice


def test_the_mean_is_over_cases_and_leaves_absent_classes_out():
    first = [1, 1, 0, 0], [1, 0, 0, 0]  # class 1: 2 * 1 / 3
    second = [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 255]  # class 1: 1
    dice = case_dice(first, second, classes="abc")
    assert dice[1] == pytest.approx((2 / 3 + 1) / 2)
    assert dice[0] == pytest.approx((2 * 2 / 5 + 1) / 2)
    assert dice[2].isnan()


def test_a_class_that_was_missed_or_made_up_counts_as_zero():
    assert case_dice(([[0, 0]], [[0, 1]]), ([[0, 1]], [[0, 0]]))[1] == 0


def test_scores_show_it_only_where_it_was_measured():
    counts = torch.tensor([[8, 1, 0], [2, 4, 0], [0, 0, 3]])
    plain = scores_from_counts(counts)
    assert "mCaseDice" not in plain.as_dict("abc")
    assert "CaseDice" not in plain.table("abc")
    with_cases = type(plain)(**{**vars(plain), "case_dice": torch.tensor([0.9, 0.5, float("nan")])})
    scores = with_cases.as_dict("abc")
    assert scores["mCaseDice"] == 50  # without the background and without what is in no case
    assert scores["classes"]["a"]["CaseDice"] == pytest.approx(90)
    assert "CaseDice" in with_cases.table("abc")
