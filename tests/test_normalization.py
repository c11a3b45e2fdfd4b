"""Values to numbers for a network: each normalisation is known by its formula, and changes nothing it is given."""

import json

import numpy as np
import pytest

from densevit.normalization import MEAN, MEAN_STD, STD, ZSCORE, as_written_before, create_normalization, in_full

KINDS = [
    dict(type="zscore"),
    dict(type="zscore", percentiles=(1, 99), nonzero=True),
    dict(type="window", low=-175.0, high=250.0),
    dict(type="ct", low=-64.0, high=148.0, mean=33.0, std=41.0),
    dict(type="mean_std", mean=[10.0, 2000.0], std=[300.0, 50.0]),
    dict(type="unit_range"),
    dict(type="by_channel", channels=[dict(type="window", low=-175.0, high=250.0), dict(type="zscore")]),
]


@pytest.fixture
def scan():
    """Two channels in HU, the second much brighter."""
    rng = np.random.default_rng(0)
    return np.stack([rng.normal(0, 300, (9, 8, 7)), rng.normal(2000, 50, (9, 8, 7))]).astype(np.float32)


@pytest.mark.parametrize("config", KINDS, ids=str)
def test_the_result_is_float32_of_the_same_size_and_the_scan_stays_as_it_was(scan, config):
    before = scan.copy()
    result = create_normalization(config)(scan)
    assert result.dtype == np.float32
    assert result.shape == scan.shape
    np.testing.assert_array_equal(scan, before)


@pytest.mark.parametrize("config", KINDS, ids=str)
def test_integers_and_memory_maps_give_what_floats_give(scan, config, tmp_path):
    whole = scan.astype(np.int16)
    np.save(tmp_path / "scan.npy", whole)
    mapped = np.load(tmp_path / "scan.npy", mmap_mode="r")
    expected = create_normalization(config)(whole.astype(np.float32))
    np.testing.assert_allclose(create_normalization(config)(mapped), expected, atol=1e-5)


def test_a_window_is_zero_to_one_and_clips(scan):
    scan[0, 0, 0, :3] = (-1000, 37.5, 900)
    result = create_normalization(dict(type="window", low=-175, high=250))(scan)
    np.testing.assert_allclose(result[0, 0, 0, :3], (0, 0.5, 1), atol=1e-6)
    assert (result.min(), result.max()) == (0, pytest.approx(1))


def test_ct_uses_the_numbers_of_the_set_whatever_the_case_holds(scan):
    ct = create_normalization(dict(type="ct", low=-64, high=148, mean=33, std=41))
    np.testing.assert_allclose(ct(scan), (np.clip(scan, -64, 148) - 33) / 41, atol=1e-5)
    np.testing.assert_array_equal(ct(scan[:, :2]), ct(scan)[:, :2])


def test_a_z_score_is_made_channel_by_channel(scan):
    result = create_normalization(ZSCORE)(scan)
    for channel in result:
        assert (channel.mean(), channel.std()) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-5))
    np.testing.assert_allclose(create_normalization(ZSCORE)(3 * scan + 7), result, atol=1e-4)


def test_a_z_score_keeps_small_bright_lesions_apart_unless_it_is_told_to_clip():
    pet = np.abs(np.random.default_rng(0).normal(1, 0.3, (20, 24, 24))).astype(np.float32)
    pet.ravel()[:20], pet.ravel()[-20:] = 6, 25  # SUV of 0.2 % of the voxels each
    for config in (ZSCORE, dict(type="zscore")):
        result = create_normalization(config)(pet[None]).ravel()
        np.testing.assert_allclose(result, (pet.ravel() - pet.mean()) / pet.std(), atol=1e-4)
    clipped = create_normalization(as_written_before(dict(type="zscore")))(pet[None]).ravel()
    assert clipped[0] == clipped[-1]


def test_each_channel_may_have_a_normalisation_of_its_own(scan):
    window = dict(type="window", low=-175, high=250)
    both = create_normalization(dict(type="by_channel", channels=[window, dict(type="zscore")]))
    result = both(scan)
    np.testing.assert_array_equal(result[0], create_normalization(window)(scan)[0])
    np.testing.assert_array_equal(result[1], create_normalization(ZSCORE)(scan)[1])
    np.testing.assert_allclose(both.of(scan)(scan[:, :3]), result[:, :3], atol=1e-6)
    assert both.zero == (-175, 0)
    with pytest.raises(ValueError, match="has 2 channels and the image 1; give one normalization for each channel"):
        both(scan[:1])


def test_said_in_full_it_means_the_same_to_any_version():
    for config in KINDS:
        full = json.loads(json.dumps(in_full(config)))
        assert create_normalization(full) == create_normalization(in_full(full))
        assert as_written_before(full) == full
    assert in_full(dict(type="zscore")) == dict(type="zscore", percentiles=None, nonzero=False)


def test_zeros_around_a_skull_stripped_head_count_for_nothing(scan):
    nonzero = create_normalization(dict(type="zscore", nonzero=True))
    framed = np.pad(scan, ((0, 0), (4, 4), (4, 4), (4, 4)))
    np.testing.assert_allclose(nonzero(framed)[:, 4:-4, 4:-4, 4:-4], nonzero(scan), atol=1e-6)
    assert not nonzero(framed)[:, :4].any()
    assert not nonzero(np.zeros_like(scan)).any()


def test_photos_are_normalised_by_imagenets_colours():
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    expected = (image - np.float32(MEAN)[:, None, None]) / np.float32(STD)[:, None, None]
    np.testing.assert_array_equal(create_normalization(dict(type="mean_std"))(image), expected)
    assert create_normalization(MEAN_STD) == create_normalization(dict(type="mean_std"))


@pytest.mark.parametrize("config", KINDS, ids=str)
def test_a_part_is_normalised_as_it_is_in_the_whole(scan, config):
    normalize = create_normalization(config)
    np.testing.assert_array_equal(normalize.of(scan)(scan[:, 2:5, :, 1:]), normalize(scan)[:, 2:5, :, 1:])


@pytest.mark.parametrize("config", KINDS, ids=str)
def test_pictures_are_normalised_as_volumes_of_one_slice(scan, config):
    normalize = create_normalization(config)
    np.testing.assert_array_equal(normalize(scan[:, 3]), normalize(scan[:, 3:4])[:, 0])


@pytest.mark.parametrize("config", [KINDS[2], KINDS[3], KINDS[4]], ids=str)
def test_the_zero_of_a_normalisation_becomes_zero(config):
    normalize = create_normalization(config)
    assert not normalize(np.broadcast_to(np.float32(normalize.zero).reshape(-1, 1, 1), (2, 3, 3))).any()


def test_another_number_of_channels_than_means_is_named():
    with pytest.raises(ValueError, match="'mean_std' has 3 means and the image 4 channels"):
        create_normalization(MEAN_STD)(np.zeros((4, 2, 2)))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (dict(type="mean_std", mean=[1.0], std=[0.0]), "as many deviations above 0"),
        (dict(type="mean_std", mean=[1.0, 2.0], std=[1.0]), "as many deviations above 0"),
        (dict(type="mean_std", mean=["1"], std=[1.0]), "a mean for each channel"),
        (None, "no normalization named None"),
        (dict(type="windw"), "no normalization named 'windw'; did you mean window"),
        (dict(type="window", low=1.0), "needs high"),
        (dict(type="window", low=1.0, high=1.0), "low must lie below high"),
        (dict(type="window", low="a", high=1.0), "low to be a number, got 'a'"),
        (dict(type="ct", low=0.0, high=1.0, mean=0.0, std=0.0), "std above 0"),
        (dict(type="zscore", percentile=(1, 2)), "has no 'percentile'; did you mean percentiles"),
        (dict(type="zscore", percentiles=(99, 1)), "two rising numbers"),
        (dict(type="zscore", nonzero=1), "nonzero to be True or False"),
    ],
    ids=str,
)
def test_a_wrong_description_is_one_sentence(config, said):
    with pytest.raises(ValueError, match=said) as caught:
        create_normalization(config)
    assert "\n" not in str(caught.value)


def test_a_unit_range_spans_each_channel_of_an_image():
    image = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32) * [[[3.0]], [[50.0]]]
    out = create_normalization(dict(type="unit_range"))(image)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.min((1, 2)), 0)
    np.testing.assert_allclose(out.max((1, 2)), 1)
    np.testing.assert_allclose(create_normalization(dict(type="unit_range"))(np.ones((1, 2, 2))), 0)
