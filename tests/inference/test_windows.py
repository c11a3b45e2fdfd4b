"""The options of a sliding window in groups: given as objects, by name, or both."""

from dataclasses import fields

import pytest
import torch

from densevit.inference import Placement, Windows, plan_windows, sliding_window
from densevit.inference.windows import Keywords
from tests.inference.common import make_image, make_network

IMAGE = make_image((20, 24))


def test_windows_and_placement_give_what_their_values_give_by_name():
    windows = dict(roi_size=(8, 10), overlap=0.25, blend="constant", grid="monai", batch_size=3)
    placement = dict(axis=1, sum_dtype=torch.float64)
    network = make_network(2)
    by_name = sliding_window(network, IMAGE, **windows, **placement)
    as_groups = sliding_window(network, IMAGE, windows=Windows(**windows), placement=Placement(**placement))
    assert as_groups.dtype == torch.float64
    assert torch.equal(as_groups, by_name)


def test_a_keyword_counts_before_the_value_of_its_group():
    network, windows = make_network(2), Windows(roi_size=8, batch_size=2)
    changed = sliding_window(network, IMAGE, windows=windows, overlap=0.25, blend="constant")
    assert torch.equal(
        changed, sliding_window(network, IMAGE, roi_size=8, batch_size=2, overlap=0.25, blend="constant")
    )
    assert not torch.equal(changed, sliding_window(network, IMAGE, windows=windows))


def test_a_plan_is_made_of_the_same_windows_and_its_options_go_beside_them():
    network, windows = make_network(2), Windows(roi_size=8, overlap=0.25)
    plan = plan_windows(network, IMAGE, windows=windows)
    assert plan.layout.axes == windows.layout(IMAGE.shape[1:]).axes
    label = sliding_window(network, IMAGE, windows=windows, reduce="labels", **plan.options)
    assert torch.equal(label, sliding_window(network, IMAGE, roi_size=8, overlap=0.25, reduce="labels"))


def test_a_plan_for_given_sums_has_no_others():
    plan = plan_windows(make_network(2), IMAGE, roi_size=8, sum_dtype=torch.bfloat16)
    assert plan.sum_dtype == torch.bfloat16


def test_a_plan_for_several_processes_is_refused():
    with pytest.raises(ValueError, match="a plan is for one process, got split=True"):
        plan_windows(make_network(2), IMAGE, placement=Placement(split=True), roi_size=8)


@pytest.mark.parametrize("function", [sliding_window, plan_windows])
def test_an_unknown_keyword_is_told_with_the_nearest_known_one(function):
    with pytest.raises(TypeError, match="no keyword named 'overlapp'; did you mean overlap"):
        function(make_network(2), IMAGE, roi_size=8, overlapp=0.5)
    with pytest.raises(TypeError, match="roi_size"):
        function(make_network(2), IMAGE)


def test_every_value_of_the_groups_has_its_keyword():
    assert [field.name for kind in (Windows, Placement) for field in fields(kind)] == list(Keywords.__annotations__)
