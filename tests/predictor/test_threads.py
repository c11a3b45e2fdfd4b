"""Predictors in several threads: the same masks as one after the other, and the process as it was."""

import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from densevit.predictor import Predictor
from tests.predictor.scans import save_checkpoint, save_scan


@pytest.mark.usefixtures("two_threads")
def test_two_predictors_in_two_threads_give_the_masks_of_one_after_the_other(tmp_path):
    scans = [save_scan(tmp_path / f"{seed}.nii.gz", seed=seed) for seed in (0, 1)]
    checkpoints = [
        save_checkpoint(tmp_path / f"{name}.safetensors", spacing=spacing)
        for name, spacing in (("fine", (1.5, 1.5, 1.5)), ("coarse", (3.0, 3.0, 3.0)))
    ]
    started = threading.Barrier(2)

    def predict(number, wait=lambda: None):
        predictor = Predictor(checkpoints[number], flips=(-1,), batch_size=2)
        wait()
        return [predictor.label(scan) for scan in scans]

    apart = [predict(0), predict(1)]
    environment, filters = dict(os.environ), list(warnings.filters)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda number: predict(number, started.wait), (0, 1)))
    assert not np.array_equal(apart[0][0], apart[1][0])
    for one, other in zip(apart, together, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.get_num_threads() == 2
    assert (dict(os.environ), list(warnings.filters)) == (environment, filters)
