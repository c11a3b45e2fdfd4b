"""Cityscapes' iIoU."""

import numpy as np
import pytest

from densevit.metrics import InstanceIoU


def test_iiou_is_its_definition_instance_by_instance():
    rng = np.random.default_rng(0)
    sizes, sums = {2: 30.0, 5: 12.0, 7: 4.0}, {2: [0, 0, 0], 5: [0, 0, 0]}
    metric = InstanceIoU(sizes)
    for _ in range(3):
        truth = rng.choice([0, 2, 5, 255], size=(16, 20)).astype(np.uint8)
        prediction = np.where(rng.random(truth.shape) < 0.6, truth, rng.choice([0, 2, 5], size=truth.shape))
        instances = np.where(np.isin(truth, [2, 5]), 1000 * truth.astype(int) + rng.integers(0, 4, truth.shape), 0)
        instances[instances % 1000 == 3] = 0  # crowds
        metric.update(prediction, truth, instances)
        for label, total in sums.items():
            for instance in np.unique(instances[instances // 1000 == label]):
                mask = instances == instance
                hits = np.count_nonzero(prediction[mask] == label)
                total[0] += hits * sizes[label] / mask.sum()
                total[2] += (mask.sum() - hits) * sizes[label] / mask.sum()
            total[1] += np.count_nonzero((prediction == label) & (truth != label) & (truth != 255))
    found = metric.compute()
    assert {label: found[label] for label in sums} == pytest.approx({k: v[0] / sum(v) for k, v in sums.items()})
    assert np.isnan(found[7])


def test_a_small_instance_that_is_missed_costs_as_much_as_a_large_one():
    truth, instances = np.zeros((20, 20), int), np.zeros((20, 20), int)
    truth[:10], instances[:10] = 1, 1
    truth[15, 3:5], instances[15, 3:5] = 1, 2
    prediction = truth.copy()
    prediction[15] = 0
    metric = InstanceIoU({1: 50.0})
    metric.update(prediction, truth, instances)
    assert metric.compute()[1] == pytest.approx(0.5)


def test_maps_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        InstanceIoU({1: 50.0}).update(np.zeros((3, 4)), np.zeros((3, 4)), np.zeros((3, 5)))
