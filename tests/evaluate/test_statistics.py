"""Intervals cover what they say, and whole patients are drawn."""

import numpy as np
import pytest

from densevit.evaluate.statistics import detectable_difference, interval_of_mean

STUDIES = {
    "Dice without failures": (lambda rng, n: rng.beta(8, 2, n), 0.8),
    "a skewed Dice": (lambda rng, n: rng.beta(20, 1.5, n), 20 / 21.5),
    "differences": (lambda rng, n: rng.normal(0.01, 0.05, n), 0.01),
}


def covers(values, truth, groups=None):
    found = interval_of_mean(values, groups, rounds=1500)
    return found.low <= truth <= found.high


@pytest.mark.parametrize("cases", [20, 50])
@pytest.mark.parametrize("name", STUDIES)
def test_95_of_100_studies_cover_the_true_mean(name, cases):
    draw, truth = STUDIES[name]
    rng = np.random.default_rng(cases)
    covered = np.mean([covers(draw(rng, cases), truth) for _ in range(1000)])
    assert covered == pytest.approx(0.95, abs=0.015)


def test_intervals_of_40_cases_with_a_failure_in_ten_are_rather_too_long_than_too_short():
    rng = np.random.default_rng(0)

    def study():
        return np.where(rng.random(40) < 0.1, 0, rng.beta(20, 3, 40))

    covered = np.mean([covers(study(), 0.9 * 20 / 23) for _ in range(1000)])
    assert 0.935 < covered < 0.98


def test_scans_of_one_patient_do_not_pass_for_several_patients():
    rng = np.random.default_rng(0)

    def study():
        sizes = rng.integers(1, 6, 30)
        patient = np.repeat(np.arange(30), sizes)
        return rng.normal(0, 0.1, 30)[patient] + rng.normal(0, 0.05, sizes.sum()) + 0.8, patient

    studies = [study() for _ in range(1000)]
    assert np.mean([covers(values, 0.8, groups) for values, groups in studies]) == pytest.approx(0.95, abs=0.015)
    assert np.mean([covers(values, 0.8) for values, _ in studies]) < 0.85


def test_the_mean_is_over_cases_and_cases_without_a_value_count_nowhere():
    found = interval_of_mean([0.5, np.nan, 1.0, 0.9], ["a", "a", "b", "b"])
    assert found.mean == pytest.approx(0.8)
    assert (found.cases, found.groups) == (3, 2)


def test_one_patient_says_nothing_of_the_spread():
    found = interval_of_mean([0.5, 0.7], ["a", "a"])
    assert found.mean == pytest.approx(0.6)
    assert np.isnan(found.low)
    assert np.isnan(found.high)
    assert np.isnan(interval_of_mean([]).mean)


def test_an_infinite_value_leaves_the_spread_unknown():
    found = interval_of_mean([0.5, np.inf, 0.7])
    assert found.mean == np.inf
    assert np.isnan(found.low)


def test_no_interval_reaches_beyond_the_scale():
    found = interval_of_mean([1.0, 0.99, 0.98, 1.0, 0.0])
    assert 0 <= found.low < found.mean < found.high <= 1


def test_equal_values_have_an_interval_of_no_width():
    found = interval_of_mean([0.25] * 5)
    assert (found.low, found.high) == (0.25, 0.25)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(3).random(20)
    assert interval_of_mean(values, seed=1) == interval_of_mean(values, seed=1)
    assert interval_of_mean(values, seed=1) != interval_of_mean(values, seed=2)


def test_a_study_finds_a_detectable_difference_four_times_in_five():
    from scipy import stats

    rng = np.random.default_rng(0)
    study = rng.normal(0, 1, 25)
    size = detectable_difference(study / study.std(ddof=1))
    found = [stats.ttest_1samp(rng.normal(size, 1, 25), 0).pvalue < 0.05 for _ in range(1000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(ValueError, match=rf"between 0 and 1, got {level}"):
        interval_of_mean([1, 2], level=level)


def test_groups_of_another_length_are_refused():
    with pytest.raises(ValueError, match="groups are given for 1 cases, values for 2"):
        interval_of_mean([1, 2], ["a"])
