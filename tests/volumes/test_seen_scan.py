"""Scans laid before a network in another program's way, and label maps brought back; scikit-image is the oracle."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform
from scipy.ndimage import binary_fill_holes, map_coordinates
from skimage.transform import resize

from densevit.normalization import create_normalization
from densevit.volumes.cubic import cubic_matrix
from densevit.volumes.grid import Grid
from densevit.volumes.resample import lone_axis, resample_image
from densevit.volumes.seen_scan import ScanOptions
from densevit.volumes.volume import Volume, open_volume

SIZES = [((11, 17, 14), (14, 12, 20)), ((11, 17, 14), (11, 30, 7)), ((1, 9, 8), (3, 9, 5)), ((6, 5, 4), (6, 5, 4))]
ENOUGH = 2**30


def as_it_is(image):
    return image.astype(np.float32)


def values(size, *, channels=1, seed=0):
    return np.random.default_rng(seed).normal(size=(channels, *size)).astype(np.float32)


@pytest.mark.parametrize(("size", "new"), SIZES, ids=str)
def test_cubic_resampling_is_that_of_scikit_image(size, new):
    image = values(size, channels=2)
    wanted = [resize(each.astype(float), new, order=3, mode="edge", anti_aliasing=False) for each in image]
    np.testing.assert_allclose(resample_image(image, new, cubic=True), wanted, atol=5e-6)


@pytest.mark.parametrize("cubic", [True, False], ids=["cubic", "linear"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_lone_axis_takes_its_nearest_slices_and_each_slice_is_resampled_by_itself(axis, cubic):
    image, new = values((10, 12, 9)), (25, 8, 20)
    within = [n for d, n in enumerate(new) if d != axis]
    options = dict(order=3 if cubic else 1, mode="edge", anti_aliasing=False)
    slices = [resize(each.astype(float), within, **options) for each in np.moveaxis(image[0], axis, 0)]
    places = image.shape[axis + 1] / new[axis] * (np.arange(new[axis]) + 0.5) - 0.5
    chosen = map_coordinates(np.arange(len(slices)), [places], order=0, mode="nearest")
    wanted = np.stack([slices[k] for k in chosen], axis)
    np.testing.assert_allclose(resample_image(image, new, cubic=cubic, nearest=axis)[0], wanted, atol=5e-6)


def test_rows_of_a_matrix_of_cubic_splines_sum_to_one():
    np.testing.assert_allclose(cubic_matrix(9, 13).sum(1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "axis"),
    [
        ((5, 1, 1), (1, 1, 1), 0),
        ((1, 1, 1), (1, 4, 1), 1),
        ((5, 1, 1), (1, 1, 5), 0),  # the first counts
        ((3, 1, 1), (1, 1, 1), None),  # no more than three times
        ((1, 5, 5), (1, 1, 1), None),  # two are as coarse
        ((1, 5.0000001, 5), (1, 1, 1), None),  # and within the rounding of files too
    ],
)
def test_the_axis_that_is_resampled_by_itself_is_the_coarsest_one(first, second, axis):
    assert lone_axis(first, second, ratio=3.0) == axis


def save(path, image, *, axes="RAS", spacing=(1.0, 1.0, 1.0)):
    """An array (X, Y, Z) given in RAS, stored in the orientation `axes`."""
    made = nibabel.Nifti1Image(image, np.diag([*spacing, 1.0]))
    nibabel.save(made.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(tuple(axes)))), path)
    return path


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SRA", "PIL"])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0)], ids=str)
def test_a_network_sees_the_axes_of_the_file_and_labels_go_back_to_where_they_were(tmp_path, axes, order):
    path = save(tmp_path / "scan.nii", values((5, 6, 7))[0], axes=axes, spacing=(1.0, 2.0, 3.0))
    volume, file = open_volume(path), nibabel.load(path)
    seen = ScanOptions(axes="file", order=order).see(volume, normalize=as_it_is, max_bytes=ENOUGH)
    stored = np.asarray(file.dataobj).transpose(2, 1, 0).transpose(order)
    assert np.array_equal(seen.image[0], stored)
    assert seen.spacing == pytest.approx([file.header.get_zooms()[::-1][axis] for axis in order])
    label = (stored > 0.5).astype(np.uint8)
    volume.write_label(seen.restore(label), tmp_path / "mask.nii")
    assert np.array_equal(np.asarray(nibabel.load(tmp_path / "mask.nii").dataobj), np.asarray(file.dataobj) > 0.5)


def test_standard_axes_are_the_same_for_every_file(tmp_path):
    image = values((5, 6, 7))[0]
    volumes = [open_volume(save(tmp_path / f"{axes}.nii", image, axes=axes)) for axes in ("RAS", "LIP")]
    seen = [ScanOptions().see(volume, normalize=as_it_is, max_bytes=ENOUGH).image for volume in volumes]
    assert np.array_equal(*seen)


def made(image, spacing=(1.0, 1.0, 1.0)):
    """A scan in memory, (C, D, H, W)."""
    grid = Grid.at_origin(image.shape[1:], spacing)
    return Volume(image, grid, Path("made"), grid.affine)


def test_a_border_without_values_is_cut_off_and_becomes_class_0():
    image = np.zeros((2, 8, 9, 10), np.float32)
    image[0, 2:5, 3, 4] = 1
    image[1, 3, 3:7, 4:6] = -1
    seen = ScanOptions(crop="nonzero").see(made(image), normalize=as_it_is, max_bytes=ENOUGH)
    assert seen.shape == (2, 3, 4, 2)
    label = seen.restore(np.ones((3, 4, 2), np.uint8))
    assert label.shape == (8, 9, 10)
    assert label.sum() == label[2:5, 3:7, 4:6].sum() == 24


def test_a_scan_of_nothing_stays_whole():
    seen = ScanOptions(crop="nonzero").see(made(np.zeros((1, 3, 4, 5))), normalize=as_it_is, max_bytes=ENOUGH)
    assert seen.shape == (1, 3, 4, 5)


def test_a_masked_channel_is_normalised_by_what_lies_inside_the_outline_of_all_channels():
    image = np.zeros((2, 6, 7, 8), np.float32)
    image[:, 1:5, 1:6, 1:7] = values((4, 5, 6), channels=2, seed=3) + 4
    image[:, 3, 3, 3] = 0  # a hole, which counts
    image[0, 1, 1, 1] = 0  # here the other channel has a value
    image[:, 4, 5, 6] = 0  # outside
    normalize = create_normalization(dict(type="zscore", percentiles=None))
    options = ScanOptions(crop="nonzero", masked=(True, False))
    seen = options.see(made(image), normalize=normalize, max_bytes=ENOUGH).image
    part = image[:, 1:5, 1:6, 1:7]
    inside = binary_fill_holes((part != 0).any(0))
    wanted = part[0].copy()
    wanted[inside] = (wanted[inside] - wanted[inside].mean()) / wanted[inside].std()
    np.testing.assert_allclose(seen[0], wanted, atol=1e-5)
    np.testing.assert_allclose(seen[1], (part[1] - part[1].mean()) / part[1].std(), atol=1e-5)


def test_an_axis_without_a_spacing_stays_as_it_is_and_others_are_brought_to_theirs():
    options = ScanOptions(order=(2, 0, 1), spacing=(None, 1.0, 2.0))
    seen = options.see(made(values((8, 9, 10)), spacing=(3.0, 2.0, 1.5)), normalize=as_it_is, max_bytes=ENOUGH)
    assert seen.shape == (1, 10, 24, 9)
    assert seen.spacing == (1.5, 1.0, 2.0)
    assert options.array_spacing == (1.0, 2.0, 1.0)


def test_the_axis_of_logits_is_chosen_by_the_networks_spacing_first():
    scan = made(values((4, 12, 12)), spacing=(5.0, 1.0, 1.0))
    both = ScanOptions(spacing=(1.0, 1.0, 5.0), uneven=3.0).see(scan, normalize=as_it_is, max_bytes=ENOUGH)
    one = ScanOptions(spacing=(1.0, 1.0, 1.0), uneven=3.0).see(scan, normalize=as_it_is, max_bytes=ENOUGH)
    assert both.native.nearest == (2,)
    assert one.native.nearest == (0,)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (dict(order=(0, 1, 1)), r"order must name the axes 0, 1 and 2, each once, got \(0, 1, 1\)"),
        (dict(spacing=(1.0, 0.0, 1.0)), "spacing must be from 1e-6 to 1e4 mm along each axis, or None"),
        (dict(uneven=0.5), "uneven must be at least 1, got 0.5"),
    ],
)
def test_options_that_no_scan_could_be_seen_by_are_refused(options, fault):
    with pytest.raises(ValueError, match=fault):
        ScanOptions(**options)


def test_a_scan_that_would_outgrow_the_memory_is_refused():
    options = ScanOptions(spacing=(0.01, 0.01, 0.01))
    with pytest.raises(ValueError, match=r"made has voxels of 1.0 x 1.0 x 1.0 mm, and at 0.01 x .* are allowed"):
        options.see(made(values((3, 4, 5))), normalize=as_it_is, max_bytes=2**20)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            dict(flipped=(0,), axes="file"),
            r"flipped is for standard axes, and those of the file run as they do, got \(0,\)",
        ),
        (dict(flipped=(3,)), r"flipped must be from 0 to 2, got \(3,\)"),
        (
            dict(align="origin", crop="nonzero"),
            "align 'origin' is for linear resampling, without crop, masked and uneven",
        ),
        (dict(align="origin", resampling="cubic"), "align 'origin' is for linear resampling"),
        (dict(first="spacing", masked=(True,)), "first must be 'normalization' where channels are masked"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_told(given, said):
    with pytest.raises(ValueError, match=said):
        ScanOptions(**given)


def test_flipped_axes_run_back_and_labels_go_back_with_them():
    image = values((5, 6, 7))
    seen = ScanOptions(order=(2, 1, 0), flipped=(0, 2)).see(made(image), normalize=as_it_is, max_bytes=ENOUGH)
    assert np.array_equal(seen.image, np.flip(image.transpose(0, 3, 2, 1), (1, 3)))
    assert np.array_equal(seen.restore((seen.image[0] > 0).astype(np.uint8)), image[0] > 0)


def test_a_scan_may_be_resampled_before_it_is_normalised():
    window = create_normalization(dict(type="window", low=-0.3, high=0.3))
    image, options = values((6, 8, 8)), dict(spacing=(1.0, 1.5, 0.8))
    resampled = ScanOptions(**options).see(made(image), normalize=as_it_is, max_bytes=ENOUGH).image
    after = ScanOptions(**options, first="spacing").see(made(image), normalize=window, max_bytes=ENOUGH).image
    before = ScanOptions(**options).see(made(image), normalize=window, max_bytes=ENOUGH).image
    assert np.array_equal(after, window(resampled))
    assert not np.allclose(after, before, atol=0.01)


def test_the_first_centres_of_both_grids_may_be_one():
    ramp = np.broadcast_to(np.arange(9, dtype=np.float32), (1, 4, 5, 9))
    options = ScanOptions(spacing=(None, 3.0, 0.4), align="origin", restored="probabilities")
    seen = options.see(made(ramp, (2.0, 1.5, 1.0)), normalize=as_it_is, max_bytes=ENOUGH)
    assert seen.shape == (1, 4, 3, 21)
    np.testing.assert_allclose(seen.image[0, 0, 0], np.arange(21) * 0.4, atol=1e-6)
    assert seen.native.size == (4, 5, 9)
    assert seen.native.scale == pytest.approx((1.0, 0.5, 2.5))
    assert (seen.native.offset, seen.native.probabilities) == ((0.0, 0.0, 0.0), True)
