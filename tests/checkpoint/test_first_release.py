"""Checkpoints of 0.1.0 load for ever, and predict what they predicted then.

`pictures.safetensors` and `volumes.safetensors` were written by training one iteration with densevit 0.1.0 (and given
a head with random weights, so that every class is predicted), and the label maps beside them by its predictors.
"""

from pathlib import Path

import numpy as np
import pytest

from densevit.predictor import Predictor

HERE = Path(__file__).parent


def check_same(label, expected):
    """All but a few in a thousand: other CPUs round otherwise, and two classes may be nearly equal."""
    assert label.dtype == expected.dtype == np.uint8
    assert len(np.unique(expected)) > 1
    assert np.mean(label != expected) < 0.003


@pytest.mark.parametrize(
    ("options", "kind"), [({}, "label"), (dict(mode="whole", flips=(-1,), scales=(0.75, 1.0)), "whole")], ids=str
)
def test_a_checkpoint_of_pictures_predicts_what_it_did(options, kind):
    stored = np.load(HERE / "pictures.npz")
    predictor = Predictor(HERE / "pictures.safetensors", **options)
    check_same(predictor(stored["image"]).label, stored[kind])
    assert predictor.classes == ("sky", "road", "car")


@pytest.mark.parametrize(("options", "kind"), [({}, "label"), (dict(mode="whole", flips=(-1,)), "whole")], ids=str)
def test_a_checkpoint_of_volumes_predicts_what_it_did(options, kind):
    label = Predictor(HERE / "volumes.safetensors", **options).label(HERE / "scan.nii.gz")
    check_same(label, np.load(HERE / "volumes.npz")[kind])
    assert set(np.unique(label)) <= {0, 2, 7}
