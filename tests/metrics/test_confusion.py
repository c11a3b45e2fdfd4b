import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributed as dist

from densevit import ConfusionMatrix
from densevit.metrics import confusion

SIZES = [(50,), (17, 23), (5, 6, 7)]


def make_maps(size, classes=5, *, ignore_index=255, dtype=torch.int64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, size, generator=generator).to(dtype)
    prediction = torch.randint(classes, size, generator=generator).to(dtype)
    label[torch.rand(size, generator=generator) < 0.2] = ignore_index
    return prediction, label


def count_by_hand(prediction, label, classes, ignore_index=255):
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    for p, y in zip(prediction.flatten().tolist(), label.flatten().tolist(), strict=True):
        if y != ignore_index:
            counts[y, p] += 1
    return counts


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_counts_are_those_of_a_loop_over_pixels(size, dtype):
    prediction, label = make_maps(size, dtype=dtype)
    matrix = ConfusionMatrix(5)
    matrix.update(prediction, label)
    assert matrix.counts.dtype == torch.int64
    assert torch.equal(matrix.counts, count_by_hand(prediction, label, 5))


@given(
    classes=st.integers(2, 300),
    ignore_index=st.sampled_from([255, -1, -100, 0, 1000, 2**40]),
    size=st.integers(0, 40),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_any_ignore_index_inside_or_outside_the_classes_counts_nowhere(classes, ignore_index, size, seed):
    prediction, label = make_maps((size,), classes, ignore_index=ignore_index, seed=seed)
    matrix = ConfusionMatrix(classes, ignore_index=ignore_index)
    matrix.update(prediction, label)
    assert torch.equal(matrix.counts, count_by_hand(prediction, label, classes, ignore_index))


@pytest.mark.parametrize("ignore_index", [-1, 256 + 255])
def test_uint8_labels_are_not_ignored_for_what_they_would_be_in_another_type(ignore_index):
    label = torch.full((4,), 255, dtype=torch.uint8)
    with pytest.raises(ValueError, match="the label holds 255"):
        ConfusionMatrix(5, ignore_index=ignore_index).update(torch.zeros(4, dtype=torch.uint8), label)


def test_two_integer_types_and_memory_layouts_may_meet():
    prediction, label = make_maps((17, 23))
    matrix = ConfusionMatrix(5)
    matrix.update(prediction.T.contiguous().T.to(torch.int32), label.to(torch.uint8))
    assert torch.equal(matrix.counts, count_by_hand(prediction, label, 5))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_arrays_count_like_tensors_even_read_only_and_flipped_ones(dtype):
    prediction, label = make_maps((17, 23))
    arrays = [values.numpy().astype(dtype)[::-1] for values in (prediction, label)]
    arrays[0].flags.writeable = False
    matrix = ConfusionMatrix(5)
    matrix.update(*arrays)
    matrix.update(prediction, label.numpy())
    assert torch.equal(matrix.counts, 2 * count_by_hand(prediction, label, 5))
    with pytest.raises(ValueError, match=r"label must hold integer class indices, got torch\.float32"):
        matrix.update(prediction, label.numpy().astype(np.float32))


def test_updates_and_merges_add_up_and_reset_forgets():
    first, second = make_maps((17, 23), seed=1), make_maps((5, 6, 7), seed=2)
    matrix, other = ConfusionMatrix(5), ConfusionMatrix(5)
    matrix.update(*first)
    other.update(*second)
    matrix.merge(other)
    assert torch.equal(matrix.counts, count_by_hand(*first, 5) + count_by_hand(*second, 5))
    matrix.reset()
    assert not matrix.counts.any()


def test_the_maps_given_are_left_as_they_were():
    prediction, label = make_maps((17, 23), dtype=torch.int32)
    before = prediction.clone(), label.clone()
    ConfusionMatrix(5).update(prediction, label)
    assert torch.equal(prediction, before[0])
    assert torch.equal(label, before[1])


def test_more_pixels_of_a_class_than_float32_can_count_are_exact():
    many = 2**24 + 3
    label = torch.ones(many, dtype=torch.uint8)
    prediction = label.clone()
    prediction[:2] = 0
    matrix = ConfusionMatrix(2)
    matrix.update(prediction, label)
    assert matrix.counts.tolist() == [[0, 0], [2, many - 2]]


def test_pieces_of_a_large_map_add_up():
    prediction, label = make_maps((1, 2 * confusion.PIECE + 7))
    matrix = ConfusionMatrix(5)
    matrix.update(prediction, label)
    pairs, counts = torch.stack([label[label != 255], prediction[label != 255]]).unique(dim=1, return_counts=True)
    assert {tuple(pair): int(n) for pair, n in zip(pairs.T.tolist(), counts, strict=True)} == {
        (y, p): int(matrix.counts[y, p]) for y in range(5) for p in range(5)
    }


@pytest.mark.parametrize("value", [5, 7, 254, -1, 2**32, 2**32 + 1])
def test_a_label_out_of_range_is_named_and_nothing_is_counted(value):
    prediction, label = make_maps((17, 23))
    label[3, 4] = value
    matrix = ConfusionMatrix(5)
    with pytest.raises(ValueError, match=f"the label holds {value}, but the 5 classes are 0 to 4 and 255 is ignored"):
        matrix.update(prediction, label)
    assert not matrix.counts.any()


def test_a_label_of_255_is_an_error_when_another_value_is_ignored():
    prediction, label = make_maps((17, 23), ignore_index=0)
    label[3, 4] = 255
    with pytest.raises(ValueError, match="the label holds 255, but the 5 classes are 0 to 4 and 0 is ignored"):
        ConfusionMatrix(5, ignore_index=0).update(prediction, label)


@pytest.mark.parametrize("value", [5, 255, -1])
def test_a_prediction_out_of_range_is_named_unless_its_pixel_is_ignored(value):
    prediction, label = make_maps((17, 23))
    prediction[label == 255] = value
    matrix = ConfusionMatrix(5)
    matrix.update(prediction, label)
    assert matrix.counts.sum() == (label != 255).sum()
    prediction[label != 255] = value
    with pytest.raises(ValueError, match=f"the prediction holds {value}, but"):
        matrix.update(prediction, label)


def test_maps_of_two_shapes_and_float_maps_are_explained():
    matrix = ConfusionMatrix(3)
    maps = torch.zeros(2, 6, dtype=torch.int64), torch.zeros(3, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"one shape, got \(2, 6\) and \(3, 4\); resize"):
        matrix.update(*maps)
    with pytest.raises(ValueError, match=r"prediction must hold integer class indices, got torch\.float32"):
        matrix.update(torch.zeros(3, 4), maps[1])


def test_one_class_is_refused_because_background_must_be_counted_too():
    with pytest.raises(ValueError, match=r"at least 2 classes, got num_classes=1; .* num_classes=2, labels 0 and 1"):
        ConfusionMatrix(1)


def test_matrices_over_different_classes_do_not_merge():
    with pytest.raises(ValueError, match="cannot merge 4 classes into 3"):
        ConfusionMatrix(3).merge(ConfusionMatrix(4))


def test_reduce_without_processes_changes_nothing():
    matrix = ConfusionMatrix(5)
    matrix.update(*make_maps((17, 23)))
    before = matrix.counts.clone()
    assert torch.equal(matrix.reduce().counts, before)


def _reduce_on_rank(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    matrix = ConfusionMatrix(5)
    matrix.update(*make_maps((17, 23), seed=rank))
    matrix.reduce().reduce()
    torch.save(matrix.counts, f"{folder}/{rank}.pt")
    try:
        matrix.update(*make_maps((17, 23)))
    except ValueError as error:
        torch.save(str(error), f"{folder}/{rank}.error.pt")
    dist.destroy_process_group()


def test_reduce_sums_over_processes_once(tmp_path):
    mp.start_processes(_reduce_on_rank, (str(tmp_path),), nprocs=2, start_method="spawn")
    expected = sum(count_by_hand(*make_maps((17, 23), seed=rank), 5) for rank in range(2))
    for rank in range(2):
        assert torch.equal(torch.load(tmp_path / f"{rank}.pt"), expected)
        assert "call reset()" in torch.load(tmp_path / f"{rank}.error.pt")
