"""Labels of a prepared volume, by a network that says what it sees."""

import numpy as np
import pytest
import torch
from torch import nn

from densevit.inference import InferenceOptions, SliceOptions
from densevit.predictor.labels import Stopwatch, image_logits, label_image
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
    found = label_image(Echo(), torch.from_numpy(image), size=SIZE, options=InferenceOptions(**inference), device="cpu")
    assert found.dtype == np.uint8
    assert np.array_equal(found, label)


@pytest.mark.parametrize("inference", WAYS[:2], ids=str)
def test_a_plane_between_two_classes_comes_back_from_another_spacing_where_it_was(inference):
    """A ramp is exact under linear resampling, so that its labels are those of the values at each voxel's centre."""
    ramp = np.broadcast_to(np.linspace(0, 4, 40, dtype=np.float32)[None, :, None], (12, 40, 10))
    grid = Grid(ramp.shape, np.diag([1.0, 1.0, 1.0, 1.0]))
    image = prepare_image(ramp[None], grid, normalize=np.ascontiguousarray, spacing=(1.5, 1.6, 0.8))
    found = label_image(
        Echo(), torch.from_numpy(image), size=ramp.shape, options=InferenceOptions(**inference), device="cpu"
    )
    middle = slice(2, -2)  # beyond the last centres of the coarser grid its border goes on
    sure = np.abs(ramp % 1 - 0.5) > 0.1
    wrong = (found != ramp.round()) & sure
    assert not wrong[:, middle].any()


def test_labels_go_into_an_array_that_is_given_and_parts_are_timed(tmp_path):
    label, watch = random_label(), Stopwatch()
    out = np.memmap(tmp_path / "label", np.uint16, "w+", shape=SIZE)
    image = torch.from_numpy(label[None].astype(np.float32))
    options = dict(
        size=SIZE, device="cpu", options=InferenceOptions(**WAYS[1]), out=out, stopwatch=watch, max_memory="1GB"
    )
    assert label_image(Echo(), image, **options) is out
    assert np.array_equal(out, label)
    assert set(watch.seconds) == {"network", "restore"}
    assert all(seconds > 0 for seconds in watch.seconds.values())


class Shrinking(nn.Module):
    """What a place holds depends on all that is seen with it, so that another size or a flip changes the logits."""

    num_classes, divisor = 3, 1

    def forward(self, x):
        place = torch.linspace(0, 1, x.shape[-1])
        return torch.cat([x, x.mean() + place * x.std() * torch.ones_like(x), x.roll(1, -1) * 1.1], dim=1)


@pytest.mark.parametrize("size", [(19, 23), (9, 11, 13)], ids=["2D", "3D"])
@pytest.mark.parametrize(
    "options",
    [
        dict(scales=(2.0,)),
        dict(flips=(-1,)),
        dict(flips=(-1, (-1, -2)), scales=(0.5, 1.0)),
        dict(base_size=(30, 26, 20)),
        dict(mode="slide", roi_size=8, scales=(1.5,)),
        dict(mode="slide_gaussian", roi_size=8, flips=(-1,)),
    ],
    ids=str,
)
def test_labels_are_the_largest_of_the_logits_however_the_image_is_seen(size, options):
    if "base_size" in options:
        options = dict(base_size=options["base_size"][: len(size)])
    image = torch.rand(1, *size, generator=torch.Generator().manual_seed(0))
    options = InferenceOptions(**options)
    logits = image_logits(Shrinking(), image, options=options)
    assert logits.shape == (3, *size)
    plain = image_logits(Shrinking(), image, options=InferenceOptions())
    assert not torch.equal(logits.argmax(0), plain.argmax(0))
    assert np.array_equal(label_image(Shrinking(), image, options=options), logits.argmax(0).numpy())


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    "options", [dict(), dict(mode="slide", roi_size=8), dict(flips=(-1,)), dict(scales=(1.5,))], ids=str
)
def test_slices_of_a_volume_are_labelled_as_pictures_are(axis, options):
    volume = torch.rand(1, 9, 11, 13, generator=torch.Generator().manual_seed(0))
    options, slices = InferenceOptions(**options), SliceOptions(axis=axis)
    label = label_image(Shrinking(), volume, options=options, slices=slices)
    logits = image_logits(Shrinking(), volume, options=options, slices=slices)
    assert np.array_equal(label, logits.argmax(0).numpy())
    if options.flips == ():
        for i, plane in enumerate(volume.unbind(axis + 1)):
            assert np.array_equal(label.take(i, axis), label_image(Shrinking(), plane, options=options))


def test_neighbouring_slices_are_channels_and_the_label_lies_on_the_volumes_own_grid():
    volume = torch.arange(12.0).view(1, 12, 1, 1).expand(1, 12, 8, 6).contiguous()

    class Rising(nn.Module):
        """Class 1 where the slice before is darker than the one after: not at the ends, which repeat themselves."""

        num_classes, divisor = 2, 4

        def forward(self, x):
            assert x.shape[1] == 3
            return torch.cat([torch.full_like(x[:, :1], 1.5), x[:, 2:] - x[:, :1]], dim=1)

    slices = SliceOptions(axis="axial", neighbours=1)
    label = label_image(Rising(), volume, options=InferenceOptions(), slices=slices)
    assert label[:, 0, 0].tolist() == [0] + [1] * 10 + [0]
    finer = label_image(Rising(), volume, options=InferenceOptions(), slices=slices, size=(24, 8, 12))
    assert finer.shape == (24, 8, 12)
    assert finer[4:-4].all()
    with pytest.raises(ValueError, match="base_size is for pictures"):
        label_image(Rising(), volume, options=InferenceOptions(base_size=(4, 4)), slices=slices)


@pytest.mark.parametrize("options", [dict(), dict(flips=(-1,)), dict(mode="slide", roi_size=8)], ids=str)
@pytest.mark.parametrize("size", [(19, 23), (9, 11, 13)], ids=["2D", "3D"])
def test_an_image_with_nan_is_refused_and_batches_may_be_automatic(size, options):
    image, options = torch.rand(1, *size), InferenceOptions(batch_size="auto", **options)
    assert label_image(Shrinking(), image, options=options).shape == size
    image.view(-1)[7] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinity"):
        label_image(Shrinking(), image, options=options)
