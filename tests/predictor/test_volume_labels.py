"""Labels of a prepared volume, by a network that says what it sees."""

import numpy as np
import pytest
import torch
from torch import nn

from densevit.predictor.stopwatch import Stopwatch
from densevit.predictor.volume_labels import label_volume
from densevit.volumes.grid import Grid
from densevit.volumes.resample import prepare_image, working_size

SIZE = (22, 26, 19)


class Echo(nn.Module):
    """(B, 1, *S) of class numbers -> (B, 5, *S): the class that is nearest to the value."""

    num_classes, divisor = 5, (8, 8, 8)

    def forward(self, x):
        return -((x - torch.arange(5.0).view(1, 5, 1, 1, 1)) ** 2)


def random_label(size=SIZE):
    return np.random.default_rng(0).integers(0, 5, size).astype(np.uint8)


WAYS = [
    dict(mode="whole"),
    dict(mode="slide_gaussian", roi_size=(8, 8, 8), stride=(5, 4, 8)),
    dict(mode="slide", roi_size=(16, 8, 24), stride=(16, 8, 24), batch_size=3),
    dict(mode="slide_gaussian", roi_size=(8, 8, 8), flips=(-1,)),
]


@pytest.mark.parametrize("inference", WAYS, ids=str)
@pytest.mark.parametrize("spacing", [None, (2.0005, 1.5, 0.7)], ids=["unchanged", "rounded"])
def test_a_round_trip_is_exact_where_the_spacing_stays(inference, spacing):
    """A label map seen as an image comes back as it is, voxel by voxel."""
    label, grid = random_label(), Grid(SIZE, np.diag([0.7, 1.5, 2.0, 1.0]))
    image = prepare_image(label[None].astype(np.float32), grid, normalize=np.asarray, spacing=spacing)
    assert image.shape[1:] == working_size(grid, spacing) == SIZE
    found = label_volume(Echo(), torch.from_numpy(image), size=SIZE, inference=inference, device="cpu")
    assert found.dtype == np.uint8
    assert np.array_equal(found, label)


@pytest.mark.parametrize("inference", WAYS[:2], ids=str)
def test_a_plane_between_two_classes_comes_back_from_another_spacing_where_it_was(inference):
    """A ramp is exact under linear resampling, so that its labels are those of the values at each voxel's centre."""
    ramp = np.broadcast_to(np.linspace(0, 4, 40, dtype=np.float32)[None, :, None], (12, 40, 10))
    grid = Grid(ramp.shape, np.diag([1.0, 1.0, 1.0, 1.0]))
    image = prepare_image(ramp[None], grid, normalize=np.ascontiguousarray, spacing=(1.5, 1.6, 0.8))
    found = label_volume(Echo(), torch.from_numpy(image), size=ramp.shape, inference=inference, device="cpu")
    middle = slice(2, -2)  # beyond the last centres of the coarser grid its border goes on
    sure = np.abs(ramp % 1 - 0.5) > 0.1
    wrong = (found != ramp.round()) & sure
    assert not wrong[:, middle].any()


def test_labels_go_into_an_array_that_is_given_and_parts_are_timed(tmp_path):
    label, watch = random_label(), Stopwatch()
    out = np.memmap(tmp_path / "label", np.uint16, "w+", shape=SIZE)
    image = torch.from_numpy(label[None].astype(np.float32))
    options = dict(size=SIZE, device="cpu", inference=WAYS[1], out=out, stopwatch=watch, max_memory="1GB")
    assert label_volume(Echo(), image, **options) is out
    assert np.array_equal(out, label)
    assert set(watch.seconds) == {"network", "restore"}
    assert all(seconds > 0 for seconds in watch.seconds.values())


@pytest.mark.parametrize(
    ("inference", "message"),
    [
        (dict(mode="slide"), "needs the size of its windows"),
        (dict(mode="slid"), "no mode named 'slid'; did you mean slide"),
        (dict(roi=3), "inference of volumes has no key 'roi'"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_told(inference, message):
    with pytest.raises(ValueError, match=message):
        label_volume(Echo(), torch.zeros(1, *SIZE), size=SIZE, inference=inference, device="cpu")
