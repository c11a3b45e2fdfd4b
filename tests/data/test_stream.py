"""Samples and batches: a draw depends on its number and the seed, on nothing else."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from densevit.data import create_dataset
from densevit.data.augment import create_augment
from densevit.data.dataset import Sample
from densevit.data.stream import EvalSet, RareClassOptions, RareClassSampler, TrainStream, collate, draws
from densevit.normalization import MEAN, MEAN_STD, STD, create_normalization
from densevit.volumes.grid import Grid

LABEL = np.arange(80).reshape(8, 10) % 3


@pytest.fixture
def dataset(folder_set):
    return create_dataset(dict(type="folder", root=folder_set([(LABEL + k) % 3 for k in range(5)])))


@pytest.fixture
def stream(dataset):
    return TrainStream(dataset, create_augment(dict(crop_size=(6, 8)), spatial_dims=2), seed=3)


def same(left, right):
    """Of two samples or of two batches."""
    left, right = (each if isinstance(each, dict) else vars(each) for each in (left, right))
    return left["meta"] == right["meta"] and all(torch.equal(left[key], right[key]) for key in ("image", "label"))


def test_samples_are_normalized_crops(stream):
    sample = stream[0]
    assert (sample.image.shape, sample.image.dtype) == ((3, 6, 8), torch.float32)
    assert (sample.label.shape, sample.label.dtype) == ((6, 8), torch.int64)
    assert sample.meta["draw"] == 0


def test_normalization_has_the_published_constants():
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    expected = (image - np.float32(MEAN)) / np.float32(STD)
    normalized = create_normalization(MEAN_STD)(image.transpose(2, 0, 1))
    np.testing.assert_allclose(normalized.transpose(1, 2, 0), expected, rtol=1e-6, atol=1e-6)


def test_a_draw_is_the_same_whatever_was_drawn_before(dataset, stream):
    fresh = TrainStream(dataset, create_augment(dict(crop_size=(6, 8)), spatial_dims=2), seed=3)
    drawn = [stream[n] for n in range(12)]
    assert all(same(fresh[n], drawn[n]) for n in (11, 3, 7, 0))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_draw_is_the_same_in_every_worker(stream, workers):
    loader = DataLoader(stream, batch_size=2, sampler=draws(start=4), num_workers=workers, collate_fn=collate)
    for step, batch in zip(range(3), loader, strict=False):
        expected = collate([stream[4 + 2 * step], stream[5 + 2 * step]])
        assert same(batch, expected)


def test_each_epoch_is_another_permutation(stream):
    epochs = [[stream[n].meta["image"] for n in range(5 * e, 5 * e + 5)] for e in range(4)]
    assert all(len(set(epoch)) == 5 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_another_seed_gives_another_stream(dataset, stream):
    other = TrainStream(dataset, stream.augment, seed=4)
    assert not all(same(stream[n], other[n]) for n in range(5))


def test_processes_share_the_draws_without_overlap():
    assert list(draws()[:4]) == [0, 1, 2, 3]
    assert list(draws(10, 0, 2)[:3]) == [10, 12, 14]
    assert list(draws(10, 1, 2)[:3]) == [11, 13, 15]


def test_negative_draws_and_seeds_are_refused(stream, dataset):
    with pytest.raises(IndexError, match="numbered from 0"):
        stream[-1]
    with pytest.raises(ValueError, match="seed"):
        TrainStream(dataset, stream.augment, seed=-1)


def test_training_needs_labels(folder_set, stream):
    unlabelled = create_dataset(dict(type="folder", root=folder_set([LABEL]), labels=None))
    with pytest.raises(ValueError, match="needs labels"):
        TrainStream(unlabelled, stream.augment, seed=0)


def test_evaluation_samples_keep_their_size_and_order(dataset):
    samples = EvalSet(dataset)
    assert len(samples) == 5
    np.testing.assert_array_equal(samples[1].label, (LABEL + 1) % 3)
    np.testing.assert_array_equal(samples[1].image, create_normalization(MEAN_STD)(dataset[1].image))


def test_images_without_labels_make_batches_without_labels(folder_set):
    unlabelled = create_dataset(dict(type="folder", root=folder_set([LABEL]), labels="none"))
    assert set(collate([EvalSet(unlabelled)[0]] * 2)) == {"image", "meta"}


def test_batches_stack_images_and_labels(stream):
    batch = collate([stream[0], stream[1]])
    assert (batch["image"].shape, batch["label"].shape, len(batch["meta"])) == ((2, 3, 6, 8), (2, 6, 8), 2)


def test_images_of_two_sizes_make_no_batch():
    samples = [
        Sample(image=torch.zeros(3, 4, k), label=None, grid=Grid((4, k)), meta=dict(image=f"{k}.png")) for k in (4, 5)
    ]
    with pytest.raises(ValueError, match=r"\(4\.png, 5\.png\); use batch_size=1"):
        collate(samples)


def test_rare_classes_are_drawn_more_often():
    counts = np.array([[990, 10, 0, 0], [1000, 0, 0, 0], [500, 0, 500, 0]])
    sampler = RareClassSampler(counts, RareClassOptions(temperature=0.5, min_pixels=5))
    frequency = counts.sum(0)[:3] / counts.sum()
    expected = np.exp((1 - frequency) / 0.5)
    np.testing.assert_allclose(sampler.probabilities, [*(expected / expected.sum()), 0])
    rng = np.random.default_rng(0)
    drawn = [sampler.draw(rng) for _ in range(300)]
    assert {index for index, wanted in drawn if wanted == 1} == {0}
    assert {index for index, wanted in drawn if wanted == 2} == {2}
    assert {wanted for _, wanted in drawn} == {0, 1, 2}


def test_a_class_that_is_small_everywhere_is_drawn_from_where_it_is():
    sampler = RareClassSampler(np.array([[100, 0], [100, 3]]), RareClassOptions(min_pixels=50))
    assert sampler.images[1].tolist() == [1]


def test_crops_hold_the_rare_class_they_were_drawn_for(folder_set):
    label = np.zeros((8, 10))
    label[:, :3] = 1
    dataset = create_dataset(dict(type="folder", root=folder_set([np.zeros((8, 10))] * 7 + [label])))
    augment = create_augment(dict(crop_size=(8, 4), scale=(1.0, 1.0)), spatial_dims=2)
    options = dict(temperature=0.01, min_pixels=4, min_crop_ratio=1.0)
    stream = TrainStream(dataset, augment, seed=0, rare_class_sampling=options)
    assert all((stream[n].label == 1).any() for n in range(20))


def test_a_wrong_rare_class_key_is_refused(dataset, stream):
    with pytest.raises(ValueError, match=r"unknown key 'rare_class_sampling\.temprature'; did you mean temperature"):
        TrainStream(dataset, stream.augment, seed=0, rare_class_sampling=dict(temprature=1))
