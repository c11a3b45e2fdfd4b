"""Requirements: what a pipeline stops at."""

import pytest

from densevit.evaluate.requirements import Requirement, unmet

SCORES = {"mIoU": 74.2, "liver.dice": 0.93, "liver.hd95_max": 4.0, "tumour.dice": float("nan")}


def failures(*texts):
    return unmet([Requirement.read(text) for text in texts], SCORES, percent=["mIoU"])


def test_each_requirement_that_is_not_met_gives_one_line():
    assert failures("mIoU>=75", "liver.dice>=0.9", "liver.hd95_max < 3") == [
        "required mIoU>=75, got 74.2",
        "required liver.hd95_max<3, got 4",
    ]


def test_a_score_that_is_nan_meets_no_requirement():
    assert failures("tumour.dice>=0", "tumour.dice<1") == [
        "required tumour.dice>=0, got nan",
        "required tumour.dice<1, got nan",
    ]


def test_a_name_that_no_score_has_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"no score named 'liver\.dise'; did you mean liver\.dice"):
        failures("liver.dise>=0.9")


def test_a_fraction_required_of_percent_is_refused():
    with pytest.raises(ValueError, match=r"mIoU is in percent.*write 75"):
        failures("mIoU>=0.75")


@pytest.mark.parametrize("text", ["mIoU", ">=3", "mIoU>=", "mIoU>=high", "mIoU=75", ""])
def test_what_is_no_requirement_is_refused(text):
    with pytest.raises(ValueError, match="a requirement reads"):
        Requirement.read(text)
