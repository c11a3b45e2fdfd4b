"""Augmentation: image and label stay together, ignored pixels stay ignored, and the random generator decides all."""

import pickle
from itertools import pairwise

import numpy as np
import pytest

from densevit.data.augment import create_augment
from densevit.data.dataset import Sample
from densevit.normalization import MEAN
from densevit.volumes.grid import Grid


def generator(seed):
    return np.random.default_rng(seed)


def changed(augment, image, label, rng):
    """A picture (H, W, C) with its label, and what becomes of both."""
    done = augment(Sample(image=image.transpose(2, 0, 1), label=label, grid=Grid(label.shape)), rng)
    return done.image.transpose(1, 2, 0), done.label


def coded(size, *, classes=5):
    """Image whose grey is the label x 40, in blocks of 16 pixels."""
    blocks = generator(0).integers(0, classes, (size[0] // 16 + 1, size[1] // 16 + 1))
    label = np.kron(blocks, np.ones((16, 16)))[: size[0], : size[1]].astype(np.uint8)
    return np.stack([label * 40] * 3, axis=-1), label


PLAIN = dict(crop_size=(64, 96), photometric=False)


@pytest.mark.parametrize("size", [(128, 256), (75, 93), (32, 300), (64, 96), (10, 10)], ids=str)
@pytest.mark.parametrize("base_size", [None, (128, 256)], ids=str)
def test_crops_have_the_asked_size_and_dtype(size, base_size):
    augment = create_augment(dict(crop_size=(64, 96), base_size=base_size), spatial_dims=2)
    image, label = changed(augment, *coded(size), generator(0))
    assert (image.shape, image.dtype) == ((64, 96, 3), np.uint8)
    assert (label.shape, label.dtype) == ((64, 96), np.uint8)


@pytest.mark.parametrize("seed", range(8))
def test_image_and_label_move_together(seed):
    image, label = changed(create_augment(PLAIN, spatial_dims=2), *coded((128, 256)), generator(seed))
    valid = label != 255
    # Linear and nearest resizing differ at class borders, which are at most 4 of 16 pixels wide here at any scale.
    assert np.mean(np.abs(image[valid][:, 0] / 40.0 - label[valid]) < 0.5) > 0.85


def test_without_scaling_a_crop_is_a_window_of_the_image():
    image, label = coded((128, 256))
    image += generator(1).integers(0, 9, image.shape, dtype=np.uint8)
    crop, crop_label = changed(
        create_augment(dict(PLAIN, scale=(1.0, 1.0), flip=0.0), spatial_dims=2), image, label, generator(0)
    )
    windows = np.lib.stride_tricks.sliding_window_view(image[..., 0], (64, 96))
    ((top, left),) = np.argwhere((windows == crop[..., 0]).all((-1, -2)))
    np.testing.assert_array_equal(crop_label, label[top : top + 64, left : left + 96])


def test_flip_is_decided_by_its_probability():
    image, label = coded((64, 96))
    always = changed(
        create_augment(dict(PLAIN, scale=(1.0, 1.0), flip=1.0), spatial_dims=2), image, label, generator(0)
    )
    np.testing.assert_array_equal(always[0], image[:, ::-1])
    np.testing.assert_array_equal(always[1], label[:, ::-1])


def test_small_images_are_padded_right_and_below_with_the_mean_and_ignored():
    image, label = coded((32, 48))
    done, ids = changed(
        create_augment(dict(PLAIN, scale=(1.0, 1.0), flip=0.0), spatial_dims=2), image, label, generator(0)
    )
    np.testing.assert_array_equal(done[:32, :48], image)
    np.testing.assert_array_equal(ids[:32, :48], label)
    assert (ids[32:] == 255).all()
    assert (ids[:, 48:] == 255).all()
    assert (done[40, 60] == np.rint(MEAN)).all()


@pytest.mark.parametrize("seed", range(20))
def test_no_step_invents_a_class(seed):
    image, label = coded((100, 130))
    label = np.where(label == 1, 255, np.where(label == 3, 4, label)).astype(np.uint8)
    extra = [dict(type="Rotate", limit=30, p=1.0), dict(type="GridDistortion", p=1.0), dict(type="Affine", p=1.0)]
    _, ids = changed(
        create_augment(dict(crop_size=(64, 96), extra=extra), spatial_dims=2), image, label, generator(seed)
    )
    assert set(np.unique(ids)) <= {0, 2, 4, 255}


def test_geometric_extras_ignore_what_they_uncover():
    image, label = coded((64, 96))
    extra = [dict(type="Rotate", limit=(45, 45), p=1.0)]
    _, ids = changed(
        create_augment(dict(PLAIN, scale=(1.0, 1.0), extra=extra), spatial_dims=2), image, label, generator(0)
    )
    assert {ids[0, 0], ids[0, -1], ids[-1, 0], ids[-1, -1]} == {255}


@pytest.mark.parametrize("seed", range(10))
def test_crops_of_one_class_are_drawn_again(seed):
    label = np.zeros((128, 512), np.uint8)
    label[:, 256:] = 1
    label[:40] = 255  # ignored pixels do not count
    image = np.zeros((128, 512, 3), np.uint8)
    options = dict(crop_size=(64, 256), scale=(1.0, 1.0), photometric=False)
    _, ids = changed(create_augment(dict(options, cat_max_ratio=0.9), spatial_dims=2), image, label, generator(seed))
    counts = np.bincount(ids.ravel(), minlength=256)[:255]
    assert counts.max() < 0.9 * counts.sum()


def test_the_same_generator_gives_the_same_sample_whatever_came_before():
    sample, config = coded((128, 256)), dict(crop_size=(64, 96), extra=[dict(type="GaussNoise", p=1.0)])
    one, other = (
        create_augment(config, spatial_dims=2),
        pickle.loads(pickle.dumps(create_augment(config, spatial_dims=2))),
    )
    for seed in range(3):
        changed(one, *sample, generator(99 + seed))
        for left, right in zip(
            changed(one, *sample, generator(seed)), changed(other, *sample, generator(seed)), strict=True
        ):
            np.testing.assert_array_equal(left, right)


def test_different_generators_give_different_samples():
    augment = create_augment(dict(crop_size=(64, 96)), spatial_dims=2)
    images = [changed(augment, *coded((128, 256)), generator(seed))[0] for seed in range(6)]
    assert all((left != right).any() for left, right in pairwise(images))


def test_the_source_is_left_as_it_was():
    image, label = coded((64, 96))
    kept = image.copy(), label.copy()
    changed(create_augment(dict(crop_size=(64, 96), scale=(1.0, 1.0)), spatial_dims=2), image, label, generator(3))
    np.testing.assert_array_equal(image, kept[0])
    np.testing.assert_array_equal(label, kept[1])


def test_photometric_distortion_changes_colours_and_no_label():
    image, label = coded((64, 96))
    image[..., 1] //= 2
    config = dict(crop_size=(64, 96), scale=(1.0, 1.0), flip=0.0)
    done = [changed(create_augment(config, spatial_dims=2), image, label, generator(seed)) for seed in range(10)]
    assert sum((colors != image).any() for colors, _ in done) >= 7
    assert all((ids == label).all() for _, ids in done)


@pytest.mark.parametrize("count", [1, 4, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pictures_of_any_channels_move_with_their_labels_and_keep_their_values(count, dtype):
    image, label = coded((128, 256))
    image = np.stack([image[..., 0].astype(dtype)] * count, axis=-1)
    fill = [7] * count
    config = dict(crop_size=(64, 96), scale=(1.0, 1.0), extra=[dict(type="Rotate", limit=(45, 45), p=1.0)])
    done, ids = changed(create_augment(config, spatial_dims=2, fill=fill), image, label, generator(0))
    assert (done.shape, done.dtype) == ((64, 96, count), dtype)
    assert (done[0, 0] == 7).all()
    assert (done == done[..., :1]).all()
    exact = np.isin(done[..., 0], np.arange(5) * 40) & (ids != 255)
    assert exact.mean() > 0.3
    agree = done[..., 0][exact].astype(int) == ids[exact] * 40
    assert agree.mean() > 0.9


def test_colours_that_are_no_colours_can_be_refused():
    config = dict(crop_size=(64, 96), photometric=True)
    with pytest.raises(ValueError, match=r"photometric=True changes 8-bit RGB, got uint16 of shape"):
        changed(
            create_augment(config, spatial_dims=2), np.zeros((64, 96, 3), np.uint16), coded((64, 96))[1], generator(0)
        )


def test_brightness_moves_by_at_most_32():
    from densevit.data.augment.augment_2d import PhotometricDistortion

    image = np.full((4, 4, 3), 100, np.uint8)
    steps = dict(brightness=32.0, contrast=None, saturation=None, hue=None)
    assert (PhotometricDistortion().apply(image, steps, contrast_first=True) == 132).all()
    drawn = PhotometricDistortion()
    drawn.set_random_state(generator(0), None)
    values = [drawn.get_params()["chosen"]["brightness"] for _ in range(400)]
    taken = [value for value in values if value is not None]
    assert 0.4 < len(taken) / len(values) < 0.6
    assert 25 < max(map(abs, taken)) <= 32


def test_hue_and_saturation_are_those_of_hsv():
    from densevit.data.augment.augment_2d import PhotometricDistortion

    red = np.full((4, 4, 3), (200, 100, 100), np.uint8)
    steps = dict(brightness=None, contrast=None, saturation=None, hue=60)
    shifted = PhotometricDistortion().apply(red, steps, contrast_first=True)
    assert shifted[0, 0].tolist() == [100, 200, 100]  # 60 of 180 steps: red to green
    grey = PhotometricDistortion().apply(red, steps | dict(saturation=0.0, hue=None), contrast_first=True)
    assert grey[0, 0].tolist() == [200, 200, 200]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (dict(), "the key 'augment.crop_size' is missing"),
        (dict(crop_size=64), "augment.crop_size must be 2 whole numbers, got 64"),
        (dict(crop_size=(64, 64), base_size=(64,)), "augment.base_size must be 2 whole numbers or None"),
        (dict(crop_size=(64, 64), scales=(1, 2)), "unknown key 'augment.scales'; did you mean scale"),
        (dict(crop_size=(64, 64), scale=(2, 1)), "augment.scale must be a range"),
        (dict(crop_size=(64, 64), flip=2), "augment.flip must be from 0 to 1"),
        (dict(crop_size=(64, 64), extra=[dict(type="Rotat")]), "no transform named 'Rotat'; did you mean"),
        (dict(crop_size=(64, 64), extra=[dict(type="Rotate", limits=3)]), "Rotate has no key 'limits'"),
    ],
)
def test_a_wrong_config_is_refused(config, said):
    with pytest.raises(ValueError, match=said):
        create_augment(config, spatial_dims=2)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (dict(type="Resize", height=128, width=128, p=1.0), "Resize turns a crop of .* keep the size"),
        (dict(type="RandomScale"), "RandomScale turns a crop of .* keep the size"),
        (dict(type="Normalize"), "Normalize turns uint8 numbers into float32, and samples are normalised once"),
        (dict(type="ToFloat", p=0.1), "ToFloat turns uint8 numbers into float32"),
        (dict(type="FromFloat"), "FromFloat turns .* numbers into"),
        (dict(type="ToTensorV2"), "ToTensorV2 turns uint8 numbers into a Tensor"),
        (dict(type="OneOf", transforms=[]), "OneOf holds other transforms; list them one by one"),
        (dict(type="Mosaic"), "Mosaic cannot be used on a crop of"),
        (dict(type="GaussianBlur", p="x"), "GaussianBlur cannot be made of {'p': 'x'}: "),
    ],
)
def test_an_extra_that_would_make_samples_unlike_what_is_predicted_is_refused_before_training(entry, said):
    with pytest.raises(ValueError, match=rf"augment\.extra: {said}") as caught:
        create_augment(dict(crop_size=(64, 96), extra=[entry]), spatial_dims=2)
    assert "\n" not in str(caught.value)


def test_an_extra_that_takes_no_colour_keeps_its_own_fill_and_ignores_what_it_drops():
    extra = [dict(type="MaskDropout", max_objects=(1, 1), p=1.0)]
    config = dict(crop_size=(64, 96), scale=(1.0, 1.0), flip=0.0, photometric=False, extra=extra)
    label = np.zeros((64, 96), np.uint8)
    label[10:20, 30:50] = 1
    image, ids = changed(
        create_augment(config, spatial_dims=2), np.full((64, 96, 3), 90, np.uint8), label, generator(0)
    )
    np.testing.assert_array_equal(ids, np.where(label == 1, 255, 0))
    np.testing.assert_array_equal(image[..., 0], np.where(label == 1, 0, 90))


def test_a_warning_says_what_is_done_to_every_sample_of_training_and_to_none_that_is_predicted(caplog):
    for extra in (dict(type="ToGray", p=1.0), dict(type="ToGray", p=0.9), dict(type="GaussNoise", p=1.0)):
        create_augment(dict(crop_size=(64, 96), extra=[extra]), spatial_dims=2)
    assert [record.getMessage()[:60] for record in caplog.records] == [
        "augment.extra: ToGray does the same to every sample of training"[:60]
    ]
