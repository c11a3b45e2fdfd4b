"""Comparing models over the same cases."""

import numpy as np
import pytest
from scipy import stats

from densevit.evaluate.comparison import compare, holm, rank_models

RNG = np.random.default_rng(0)
TRUTH = RNG.beta(8, 2, 40)
MODELS = {"good": TRUTH + 0.05 + RNG.normal(0, 0.01, 40), "bad": TRUTH, "same": TRUTH + RNG.normal(0, 0.01, 40)}


def test_every_pair_is_compared_on_the_differences_of_the_same_cases():
    found = {(each.first, each.second): each for each in compare(MODELS)}
    assert set(found) == {("good", "bad"), ("good", "same"), ("bad", "same")}
    better = found["good", "bad"]
    assert better.difference.mean == pytest.approx(np.mean(MODELS["good"] - MODELS["bad"]))
    assert better.difference.low > 0.04
    assert better.p == stats.wilcoxon(MODELS["good"], MODELS["bad"]).pvalue
    assert found["bad", "same"].difference.low < 0 < found["bad", "same"].difference.high


def test_patients_are_the_units_of_the_test():
    values = {"a": [0.9, 0.8, 0.7, 0.6, 0.9, 0.8], "b": [0.8, 0.8, 0.8, 0.5, 0.6, 0.7]}
    (found,) = compare(values, ["p", "p", "q", "q", "r", "r"])
    assert found.difference.groups == 3
    assert found.p == stats.wilcoxon([0.05, 0.0, 0.2]).pvalue


def test_p_values_are_corrected_as_holm_does():
    assert holm([0.01, 0.04, 0.03, float("nan")]) == pytest.approx([0.03, 0.06, 0.06, float("nan")], nan_ok=True)
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_equal_models_do_not_differ():
    (found,) = compare({"a": [0.5, 0.6], "b": [0.5, 0.6]})
    assert (found.p, found.difference.mean) == (1.0, 0.0)


def test_a_false_finding_counts_against_a_model_where_the_other_rightly_found_nothing():
    values = {"finds what is not there": [0.9, 0.0], "finds nothing": [0.9, float("nan")]}
    (found,) = compare(values, if_both_empty=1)
    assert found.difference.mean == pytest.approx(-0.5)
    with pytest.raises(ValueError, match=r"finds nothing has no value in 1 cases.*if_both_empty"):
        compare(values)


def test_a_case_in_which_no_model_has_a_value_counts_nowhere():
    (found,) = compare({"a": [0.9, float("nan"), 0.8], "b": [0.8, float("nan"), 0.6]})
    assert found.difference.cases == 2


def test_a_ranking_says_how_stable_it_is():
    found = rank_models(MODELS)
    assert next(iter(found.ranks)) == "good"
    assert found.shares["good"][0] == 1.0
    assert 0.05 < found.shares["same"][1] < 0.95
    assert sum(found.shares["same"]) == pytest.approx(1)
    assert 0.3 < found.agreement < 1


def test_of_a_distance_the_smaller_one_ranks_first():
    found = rank_models({"near": [1.0, 2.0, 1.5], "far": [4.0, 5.0, 6.0]}, higher_is_better=False)
    assert found.ranks == {"near": 1, "far": 2}
    assert found.agreement == 1


def test_models_over_other_numbers_of_cases_are_refused():
    with pytest.raises(ValueError, match=r"the same cases, got \{'a': 2, 'b': 1\}"):
        compare({"a": [1, 2], "b": [1]})
