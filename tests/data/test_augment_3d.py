"""Crops of volumes: copied exactly or sampled where scipy samples, aligned with their labels, known by their seed."""

import pickle
from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy import ndimage

from densevit.data.augment import create_augment
from densevit.data.augment.crop_3d import Elastic, Place, cut, draw_elastic, sample, step_matrix
from densevit.data.augment.options import PRESETS, VolumeAugmentOptions
from densevit.data.dataset import Sample
from densevit.data.foreground import foreground_voxels
from densevit.volumes.grid import Grid
from tools.peers import import_peer

PLAIN = dict(crop_size=(6, 8, 7), scale=(1.0, 1.0), rotate=0.0, foreground=0.0, intensity=0.0)
STRONG = dict(
    crop_size=(12, 14, 10),
    scale=(0.7, 1.4),
    rotate=40.0,
    elastic=(3.0, 8.0),
    elastic_prob=0.7,
    flips=(0.5, 0.5, 0.5),
    foreground=0.5,
)
SPACING = (3.0, 1.0, 1.5)


def volume_of(image, label, *, spacing=(1.0, 1.0, 1.0), foreground=None):
    return Sample(image=image, label=label, grid=Grid.at_origin(label.shape, spacing), foreground=foreground)


def crop_of(config, volume, *, seed=0, **known):
    done = create_augment(config, spatial_dims=3)(volume_of(*volume, **known), np.random.default_rng(seed))
    return done.image, done.label


def coded(size=(20, 24, 22)):
    """An image whose three channels are the place (D, H, W) of each voxel, and a label that changes everywhere."""
    image = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in size), indexing="ij"))
    return image, np.random.default_rng(0).integers(0, 9, size).astype(np.uint8)


def smooth(size=(20, 24, 22), channels=2):
    values = np.random.default_rng(1).normal(size=(channels, *size))
    return ndimage.gaussian_filter(values, (0, 1.5, 1.5, 1.5)).astype(np.float32)


def place_of(matrix, *, size=(12, 14, 10), centre=(9.3, 11.2, 12.6), **more):
    return Place(size=size, matrix=matrix, centre=np.array(centre), **more)


TURNED = step_matrix(zoom=1.2, angles=(20, -35, 50), flips=(False, True, False), spacing=SPACING)


@pytest.mark.parametrize("seed", range(6))
def test_a_crop_without_zoom_and_rotation_copies_voxels_exactly(seed):
    image, label = smooth(), coded()[1]
    config = dict(PLAIN, flips=(0.5, 0.5, 0.5), foreground=0.5)
    got, got_label = crop_of(config, (image, label), seed=seed, spacing=SPACING)
    places, _ = crop_of(config, coded(), seed=seed, spacing=SPACING)
    at = tuple(places.astype(int))
    np.testing.assert_array_equal(got, image[(slice(None), *at)])
    np.testing.assert_array_equal(got_label, label[at])
    assert (np.ptp(places, axis=(1, 2, 3)) == np.array(PLAIN["crop_size"]) - 1).all()


@pytest.mark.parametrize("rotate_prob", [0.0, 1.0], ids=["copied", "sampled"])
def test_the_flips_turn_the_axes_that_they_name(rotate_prob):
    config = dict(PLAIN, flips=(1.0, 0.0, 1.0), rotate=1e-4, rotate_prob=rotate_prob)
    places, _ = crop_of(config, coded(), spacing=SPACING)
    for axis, step in enumerate((-1, 1, -1)):
        np.testing.assert_allclose(np.diff(places[axis], axis=axis), step, atol=1e-3)


@pytest.mark.parametrize("centre", [(9.3, 11.2, 12.6), (1.0, 22.0, 5.5)], ids=["inside", "at the edge"])
def test_sampling_is_that_of_scipy_with_the_same_matrix(centre):
    image, label = smooth(), coded()[1]
    place = place_of(TURNED, centre=centre)
    got, got_label = sample(cut(image, label, place))
    offset = np.array(centre) - TURNED @ ((np.array(place.size) - 1) / 2)
    options = dict(matrix=TURNED, offset=offset, output_shape=place.size, mode="grid-constant")
    for channel, values in zip(got.numpy(), image, strict=True):
        np.testing.assert_allclose(channel, ndimage.affine_transform(values, order=1, **options), atol=1e-5)
    np.testing.assert_array_equal(
        got_label.numpy(), ndimage.affine_transform(label, order=0, **dict(options, cval=255))
    )


@pytest.mark.parity
def test_sampling_is_that_of_monai_with_the_same_matrix():
    monai = import_peer("monai.transforms")
    image, label = smooth(), coded()[1]
    place = place_of(TURNED, centre=(np.array(label.shape) - 1) / 2)  # about which MONAI turns
    got, got_label = sample(cut(image, label, place))
    matrix = np.eye(4)
    matrix[:3, :3] = TURNED
    options = dict(affine=matrix, spatial_size=place.size, padding_mode="zeros", image_only=True)
    expected = monai.Affine(mode="bilinear", **options)(torch.from_numpy(image))
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-4)
    expected = monai.Affine(mode="nearest", **options)(torch.from_numpy(label[None]))[0].numpy()
    inside = got_label.numpy() != 255
    assert (expected == got_label.numpy())[inside].mean() > 0.999


def test_only_the_box_of_the_crop_is_read(tmp_path):
    image, label = smooth((60, 60, 60), channels=1), np.zeros((60, 60, 60), np.uint8)
    mapped = np.memmap(tmp_path / "image", np.float32, "w+", shape=image.shape)
    mapped[:] = image
    place = place_of(np.eye(3), centre=(30.2, 30.7, 30.0))
    piece = cut(mapped, label, place)
    assert piece.image.shape[1:] == piece.label.shape == (13, 15, 11)
    assert not isinstance(piece.image, np.memmap)
    turned = place_of(TURNED, centre=(30.2, 30.7, 30.0))
    for one, other in zip(sample(cut(mapped, label, turned)), sample(cut(image, label, turned)), strict=True):
        assert torch.equal(one, other)
    piece = cut(image, label, turned)
    box = tuple(slice(first, first + n) for first, n in zip(piece.start, piece.label.shape, strict=True))
    poisoned = np.full_like(image, np.nan)
    poisoned[(0, *box)] = image[(0, *box)]
    assert torch.equal(sample(cut(poisoned, label, turned))[0], sample(piece)[0])


def test_a_read_only_volume_of_half_precision_will_do():
    image, label = smooth().astype(np.float16), coded()[1]
    for array in (image, label):
        array.flags.writeable = False
    got, _ = crop_of(STRONG, (image, label))
    assert got.dtype == np.float32


def ball(spacing, *, size=(21, 61, 41), radius=20.0):
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(size, spacing, strict=True)]
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    return (distance <= radius).astype(np.uint8)


@pytest.mark.parametrize("angles", [(45, 0, 0), (0, 45, 0), (0, 0, 45), (30, 50, -20)], ids=str)
def test_a_ball_stays_round_when_it_is_turned_where_voxels_are_not_cubes(angles):
    label = ball(SPACING)

    def dice(spacing):
        matrix = step_matrix(zoom=1.0, angles=angles, flips=(False,) * 3, spacing=spacing)
        place = place_of(matrix, size=label.shape, centre=(np.array(label.shape) - 1) / 2)
        turned = sample(cut(label[None].astype(np.float32), label, place))[1].numpy() == 1
        return 2 * (turned & (label == 1)).sum() / (turned.sum() + label.sum())

    assert dice(SPACING) > 0.96
    assert dice((1.0, 1.0, 1.0)) < 0.9


def test_turning_in_plane_leaves_the_slices_apart():
    image, label = coded()
    config = dict(PLAIN, rotate=0.0, rotate_in_plane=90.0)
    for seed in range(5):
        got, got_label = crop_of(config, (image, label), seed=seed)
        slices = np.where(got_label == 255, np.nan, got[0])
        assert np.nanmax(np.nanstd(slices[:, 2:-2, 2:-2], axis=(1, 2))) < 1e-4
    assert any(np.ptp(crop_of(config, (image, label), seed=seed)[0][1, 0, 0]) > 1 for seed in range(5))


@pytest.mark.parametrize("seed", range(8))
def test_image_and_label_stay_together_through_everything(seed):
    image, label = coded()
    image = np.concatenate([image, np.ones_like(image[:1])])  # how much of a voxel is inside: at the border it fades
    got, got_label = crop_of(dict(STRONG, intensity=0.0), (image, label), seed=seed, spacing=SPACING)
    sure = (got[3] > 0.9999) & (abs(got[:3] % 1 - 0.5) > 1e-3).all(axis=0)
    assert sure.mean() > 0.3
    at = tuple(np.round(got[:3, sure]).astype(int))
    np.testing.assert_array_equal(got_label[sure], label[at])


def test_what_lies_beyond_the_volume_is_ignored_and_0():
    image, label = np.ones((1, 8, 8, 8), np.float32), np.zeros((8, 8, 8), np.uint8)
    got, got_label = crop_of(dict(STRONG, crop_size=(24, 24, 24), intensity=0.0), (image, label), seed=2)
    assert set(np.unique(got_label)) == {0, 255}
    far = ndimage.binary_erosion(got_label == 255, iterations=3, border_value=1)
    assert far.any()
    assert not got[0][far].any()
    near = ndimage.binary_erosion(got_label == 0, iterations=2)
    assert near.any()
    np.testing.assert_allclose(got[0][near], 1, atol=1e-5)


def displaced(elastic, *, size=(26, 30, 28), spacing=SPACING):
    """(3, *size) mm: how far an elastic crop of a position-coded volume moves each voxel."""
    image, label = coded(tuple(n + 40 for n in size))
    place = dict(size=size, centre=[(n + 39) / 2 for n in size], spacing=spacing)
    moved, straight = (sample(cut(image, label, place_of(np.eye(3), elastic=e, **place)))[0] for e in (elastic, None))
    return (moved - straight).numpy().astype(np.float64) * np.array(spacing)[:, None, None, None]


def test_an_elastic_displacement_is_smooth_and_at_most_what_was_asked():
    rng = np.random.default_rng(0)
    elastic = draw_elastic(rng, size=(26, 30, 28), spacing=SPACING, largest=6.0, distance=15.0)
    move = displaced(elastic)
    assert 2 < abs(move).max() <= 6
    for axis, mm in enumerate(SPACING):
        assert abs(np.diff(move, axis=axis + 1)).max() / mm < 1  # mm for each mm
    full = Elastic(points=np.full_like(elastic.points, 6.0), distance=15.0)
    np.testing.assert_allclose(displaced(full), 6, atol=1e-3)


@pytest.mark.parametrize("matrix", [np.eye(3), TURNED], ids=["straight", "turned and flipped"])
def test_an_elastic_displacement_is_the_cubic_spline_of_scipy_before_the_affine_map(matrix):
    size, distance = (12, 14, 10), 8.0
    elastic = draw_elastic(np.random.default_rng(0), size=size, spacing=SPACING, largest=3.0, distance=distance)
    image, label = coded((60, 60, 60))
    place = place_of(matrix, centre=(29.5, 30.2, 28.7), spacing=SPACING, elastic=elastic)
    got, _ = sample(cut(image, label, place))
    at = [np.arange(n) * mm / distance + 1 for n, mm in zip(size, SPACING, strict=True)]
    at = np.meshgrid(*at, indexing="ij")
    moves = [ndimage.map_coordinates(points, at, order=3, prefilter=False) for points in elastic.points]
    steps = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in size), indexing="ij"), axis=-1)
    places = (steps + np.stack(moves, axis=-1) / np.array(SPACING)) @ matrix.T + place.centre
    np.testing.assert_allclose(np.moveaxis(got.numpy(), 0, -1), places, atol=1e-3)


def test_nothing_folds_at_the_largest_elastic_displacement():
    rng = np.random.default_rng(0)
    worst = np.inf
    for _ in range(5):
        elastic = draw_elastic(rng, size=(26, 30, 28), spacing=(1.0, 1.0, 1.0), largest=4.0, distance=10.0)
        extreme = Elastic(points=np.sign(elastic.points) * 4.0, distance=10.0)
        move = displaced(extreme, spacing=(1.0, 1.0, 1.0))
        gradient = np.stack(np.gradient(move, axis=(1, 2, 3)), axis=1) + np.eye(3)[:, :, None, None, None]
        worst = min(worst, np.linalg.det(np.moveaxis(gradient, (0, 1), (-2, -1))).min())
    assert 0 < worst < 0.5


@pytest.mark.parametrize("preset", PRESETS)
def test_a_crop_depends_on_its_seed_alone(preset):
    volume = volume_of(smooth(), coded()[1], spacing=SPACING)
    config = dict(STRONG, preset=preset, foreground_weights=(1.0,) * 9, noise=0.1)
    augment = create_augment(config, spatial_dims=3)
    copy = pickle.loads(pickle.dumps(augment))
    first = [augment(volume, np.random.default_rng(seed)) for seed in range(6)]
    torch.manual_seed(7)
    np.random.seed(7)
    for seed in (4, 0, 5, 2):
        again = copy(volume, np.random.default_rng(seed))
        np.testing.assert_array_equal(again.image, first[seed].image)
        np.testing.assert_array_equal(again.label, first[seed].label)
    assert not np.array_equal(first[0].image, first[1].image)
    assert all(np.isfinite(crop.image).all() for crop in first)
    assert {(crop.image.dtype, crop.label.dtype) for crop in first} == {(np.dtype(np.float32), np.dtype(np.uint8))}


def test_the_stored_list_of_voxels_gives_the_crops_that_searching_the_label_gives():
    image, label = smooth(), coded()[1]
    for seed in range(5):
        config = dict(STRONG, foreground=1.0)
        searched = crop_of(config, (image, label), seed=seed)
        stored = crop_of(config, (image, label), seed=seed, foreground=foreground_voxels(label, 9))
        for one, other in zip(searched, stored, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("elastic", [None, (2.0, 8.0)], ids=["straight", "elastic"])
@pytest.mark.parametrize("corner", [(1, 1, 1), (18, 1, 38), (10, 20, 38)], ids=str)
def test_a_foreground_crop_holds_its_class_however_it_is_turned(corner, elastic):
    label = np.zeros((20, 40, 40), np.uint8)
    label[tuple(slice(c - 1, c + 2) for c in corner)] = 1
    image = label[None].astype(np.float32)
    config = dict(PLAIN, crop_size=(6, 30, 10), rotate=180.0, scale=(0.8, 1.3), elastic=elastic, elastic_prob=1.0)
    for seed in range(25):
        _, got = crop_of(dict(config, foreground=1.0), (image, label), seed=seed, spacing=(2.0, 1.0, 1.0))
        assert (got == 1).any()


def test_a_case_without_foreground_is_cropped_anywhere():
    image, label = coded()
    starts = {crop_of(dict(PLAIN, foreground=1.0), (image, 0 * label), seed=s)[0][0, 0, 0, 0] for s in range(30)}
    assert len(starts) > 8


def test_crops_around_a_class_are_as_frequent_as_asked():
    label = np.zeros((4, 4, 400), np.uint8)
    label[:, :, 200:202] = 1
    label[:, :, 100:140] = 2
    image = label[None].astype(np.float32)
    config = dict(PLAIN, crop_size=(4, 4, 5), foreground=1.0, foreground_weights=(0.0, 3.0, 1.0))
    found = [np.unique(crop_of(config, (image, label), seed=seed)[1]).max() for seed in range(200)]
    assert np.bincount(found, minlength=3)[1] / 200 == pytest.approx(0.75, abs=0.08)


def test_each_change_happens_as_often_as_asked():
    volume = volume_of(*coded())
    augment = create_augment(dict(preset="nnunet", crop_size=(4, 4, 4), extra=()), spatial_dims=3)
    drawn = [augment.draw(volume, np.random.default_rng(seed)).place for seed in range(400)]
    assert np.mean([place.plain for place in drawn]) == pytest.approx(0.8 * 0.8, abs=0.06)
    turned = [abs(place.matrix[0, 1]) > 0 for place in drawn]
    assert np.mean(turned) == pytest.approx(0.2, abs=0.06)
    flipped = [np.diag(place.matrix) < 0 for place in drawn if place.plain]
    np.testing.assert_allclose(np.mean(flipped, axis=0), 0.5, atol=0.1)
    zooms = np.array([np.linalg.det(abs(place.matrix)) for place in drawn if not place.plain]) ** (-1 / 3)
    assert 0.7 < zooms.min() < 0.75


def test_a_crop_may_be_sampled_after_it_was_drawn():
    volume = volume_of(smooth(), coded()[1], spacing=SPACING)
    augment = create_augment(dict(STRONG, preset="nnunet"), spatial_dims=3)
    drawn = pickle.loads(pickle.dumps(augment.draw(volume, np.random.default_rng(3))))
    at_once = augment(volume, np.random.default_rng(3))
    for one, other in zip(augment.finish(drawn), (at_once.image, at_once.label), strict=True):
        np.testing.assert_array_equal(one.numpy(), other)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_same_crop():
    volume = volume_of(smooth(), coded()[1], spacing=SPACING)
    augment = create_augment(dict(STRONG, preset="nnunet"), spatial_dims=3)
    for seed in range(10):
        drawn = augment.draw(volume, np.random.default_rng(seed))
        (one, label), (other, other_label) = augment.finish(drawn), augment.finish(drawn, device="cuda")
        torch.testing.assert_close(other.cpu(), one, atol=1e-3, rtol=1e-3)
        assert (other_label.cpu() == label).float().mean() > 0.999


def test_every_key_of_a_config_is_one_of_the_augmentation():
    names = {field.name for field in fields(VolumeAugmentOptions)}
    create_augment(dict.fromkeys(names - {"preset"}) | dict(crop_size=(4, 4, 4)), spatial_dims=3)
    assert names == {"crop_size", "preset", *PRESETS["mild"]}
    assert all(values.keys() == PRESETS["mild"].keys() for values in PRESETS.values())


def test_a_key_that_is_given_goes_before_the_preset():
    augment = create_augment(dict(preset="nnunet", crop_size=(4, 4, 4), rotate=5.0, extra=()), spatial_dims=3)
    assert (augment.options.rotate, augment.options.scale, augment.chain) == (5.0, (0.7, 1.4), None)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (dict(preset="nnunett"), "augment.preset must be 'mild' or 'nnunet', got 'nnunett'"),
        (dict(rotat=10.0), "unknown key 'augment.rotat'; did you mean rotate"),
        (dict(crop_size=None), "augment.crop_size must be 3 whole numbers, got None"),
        (dict(rotate=200.0), "augment.rotate must be from 0 to 180"),
        (dict(rotate_in_plane=-1.0), "augment.rotate_in_plane must be from 0"),
        (dict(scale_prob=1.5), "augment.scale_prob must be from 0 to 1"),
        (dict(elastic=(5.0, 10.0)), r"at most 0.4 of the second so that nothing folds; got \(5.0, 10.0\)"),
        (dict(elastic=(0.0, 0.0)), "augment.elastic must be"),
        (dict(elastic=4.0), "augment.elastic must be 2 numbers or None, got 4.0"),
        (dict(scale=1.0), "augment.scale must be 2 numbers or None, got 1.0"),
        (dict(flips=(0.5, 0.5)), r"augment.flips must be 3 numbers or None, got \(0.5, 0.5\)"),
        (dict(crop_size=(16.5, 16, 16)), r"augment.crop_size.0 must be a whole number, got 16.5"),
        (dict(foreground_weights=(0.0, 0.0)), "augment.foreground_weights must be"),
        (dict(foreground_weights=(1.0, -1.0)), "augment.foreground_weights must be"),
    ],
    ids=str,
)
def test_a_wrong_number_or_name_is_one_sentence(config, said):
    with pytest.raises(ValueError, match=said) as caught:
        create_augment({**PLAIN, **config}, spatial_dims=3)
    assert "\n" not in str(caught.value)
