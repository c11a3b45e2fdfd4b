"""How an image is seen: the one class of inference options."""

import pytest

from densevit.inference import InferenceOptions


def test_lists_become_tuples_and_what_is_left_out_has_its_default():
    options = InferenceOptions.read(dict(mode="slide", roi_size=[32, 48], stride=[16, 24], flips=[-1, [0, 1]]))
    assert (options.roi_size, options.stride, options.flips) == ((32, 48), (16, 24), (-1, (0, 1)))
    assert (options.batch_size, options.scales, options.divisor, options.base_size) == (1, (1.0,), None, None)
    assert InferenceOptions.read(options) is options


def test_what_is_given_overrides_what_was_said_and_none_says_nothing():
    said = InferenceOptions(mode="slide", roi_size=(32, 32), stride=(16, 16))
    assert said.override(mode=None, stride=None) == said
    assert said.override(mode="whole").mode == "whole"
    assert said.override(roi_size=[64, 64], batch_size=3).roi_size == (64, 64)


def test_one_number_stands_for_every_axis():
    said = InferenceOptions(mode="slide", roi_size=32, stride=(16, 24, 8), divisor=4)
    assert (said.on_axes(3).roi_size, said.on_axes(3).divisor) == ((32, 32, 32), (4, 4, 4))
    with pytest.raises(ValueError, match=r"stride must be one number for each of 2 axes, got \(16, 24, 8\)"):
        said.on_axes(2)
    with pytest.raises(ValueError, match="base_size must be one number for each of 3 axes"):
        InferenceOptions(base_size=(64, 96)).on_axes(3)
    with pytest.raises(ValueError, match="flips must name spatial axes, -2 to 1, each once"):
        InferenceOptions(flips=(2,)).on_axes(2)
    with pytest.raises(ValueError, match=r"stride must be 1 to roi_size on every axis, got stride \(64, 64\) for"):
        InferenceOptions(mode="slide", roi_size=32, stride=64).on_axes(2)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (dict(window=3), r"unknown key 'inference.window'; known: base_size"),
        (dict(mod="slide"), "did you mean mode"),
        (dict(mode="slid"), "inference.mode must be 'whole' or 'slide' or 'slide_gaussian' or 'slide_nnunet'"),
        (dict(mode="slide"), "inference.mode 'slide' needs the size of its windows"),
        (dict(mode="slide", roi_size=[0, 16]), r"inference.roi_size must be from 1 to 65536, got \(0, 16\)"),
        (dict(batch_size=0), "inference.batch_size must be at least 1, got 0"),
        (dict(batch_size="many"), "batch_size must be a whole number or 'auto', got 'many'"),
        (dict(scales=(0.0,)), "scales must be positive"),
        (dict(scales=(float("inf"),)), "scales must be positive"),
        (dict(scales=()), "scales must be positive"),
        (dict(scales=1.0), "inference.scales must be a list of numbers, got 1.0"),
        (dict(divisor=0), "divisor must be from 1 to 65536, got 0"),
    ],
    ids=str,
)
def test_what_no_image_could_be_seen_by_is_told(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        InferenceOptions.read(given)


@pytest.mark.parametrize("key", ["roi_size", "stride"])
def test_windows_that_would_not_be_used_are_told(key):
    with pytest.raises(ValueError, match=f"{key} belongs to modes 'slide', 'slide_gaussian', 'slide_nnunet', 'sl"):
        InferenceOptions().override(**{key: 32})
    assert InferenceOptions(roi_size=32).override(batch_size=2).mode == "whole"  # said before, and not asked for now
