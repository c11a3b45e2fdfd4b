"""Stochastic depth: whole samples are dropped, the mean is kept, and only in training."""

import pytest
import torch

from densevit.blocks.transformer import DropPath, drop_path_rates


def test_rates_rise_linearly_from_zero_over_all_blocks():
    assert drop_path_rates(0.3, (1, 2, 1)) == [[0.0], pytest.approx([0.1, 0.2]), pytest.approx([0.3])]
    assert drop_path_rates(0.3, (1,)) == [[0.0]]


def test_samples_are_dropped_whole_and_the_others_scaled_up():
    torch.manual_seed(0)
    drop = DropPath(0.25).train()
    out = drop(torch.ones(4000, 3, 2))
    per_sample = out.flatten(1)
    assert torch.equal(per_sample.amin(1), per_sample.amax(1))
    assert per_sample[:, 0].unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
    assert out.mean().item() == pytest.approx(1, abs=0.03)


def test_nothing_is_dropped_in_eval_mode():
    x = torch.randn(8, 3)
    assert DropPath(0.9).eval()(x) is x


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_a_rate_outside_zero_to_one_is_an_error(rate):
    with pytest.raises(ValueError, match="drop_path must be in"):
        DropPath(rate)
