"""Flicker, and label maps that move with what they label."""

import numpy as np
import pytest

from densevit.metrics import TemporalConsistency
from densevit.pictures.flow import find_motion, move_label, stands_still


def test_flicker_is_the_share_of_still_pixels_whose_class_changes():
    before, label = np.zeros((2, 4), np.uint8), np.zeros((2, 4), np.uint8)
    label[0] = 1  # of these four, two stand still, as do two of the others
    still = np.array([[1, 1, 0, 0], [1, 1, 0, 0]], bool)
    counts = TemporalConsistency(2)
    counts.update(label, before, still=still, moved=before.astype(np.int32))
    scores = counts.compute()
    assert (scores.flicker, scores.still) == (0.5, 0.5)
    assert scores.moved_miou == pytest.approx((4 / 8 + 0) / 2)  # of class 0, and of class 1


def test_without_two_frames_nothing_is_said():
    scores = TemporalConsistency(2).compute()
    assert np.isnan([*vars(scores).values()]).all()
    assert str(scores) == "one frame, which flickers in nothing"


def test_a_label_map_that_moves_with_its_square_is_consistent():
    texture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    frames = [np.roll(texture, 3 * step, axis=1) for step in range(2)]
    labels = [np.roll((np.arange(96) > 48).astype(np.uint8)[None].repeat(64, 0), 3 * step, axis=1) for step in range(2)]
    motion = find_motion(frames[1], frames[0])
    assert np.median(motion[16:-16, 16:-16, 0]) == pytest.approx(-3, abs=0.2)
    moved = move_label(labels[0], motion, nowhere=-1)
    assert np.array_equal(moved[16:-16, 16:-16], labels[1][16:-16, 16:-16])
    assert stands_still(frames[0], frames[0]).all()
    assert not stands_still(frames[1], frames[0]).all()
    away = np.full((64, 96, 2), -100.0, np.float32)
    assert (move_label(labels[0], away, nowhere=-1) == -1).all()
