"""How borders of labels lie on edges of images, under every turn of a square and of a cube."""

import numpy as np
import pytest

from densevit.doctor.edges import agreement, borders_of, edge_ranks, turns
from densevit.doctor.look import look_through
from densevit.doctor.turned import describe

SIDE = {2: 48, 3: 24}


def turned(label, turn):
    order, flips = turn
    label = label.transpose(order)
    return np.flip(label, [axis for axis, flip in enumerate(flips) if flip])


@pytest.fixture(params=[2, 3], ids=["square", "cube"])
def sample(request):
    """An image (1, *S) and its label (*S), without symmetry."""
    rank, rng = request.param, np.random.default_rng(1)
    label = np.kron(rng.integers(0, 3, [SIDE[rank] // 4] * rank), np.ones([4] * rank, int))
    return (50 * label + rng.normal(0, 3, label.shape))[None], label.astype(np.uint8)


def test_there_are_8_turns_of_a_square_and_48_of_a_cube_and_the_first_is_none():
    assert [len(turns(2)), len(turns(3))] == [8, 48]
    assert turns(3)[0] == ((0, 1, 2), (False, False, False))


def test_each_turn_of_a_label_is_undone_by_the_one_that_fits_best(sample):
    image, label = sample
    for turn in turns(label.ndim):
        scores = agreement(image, np.ascontiguousarray(turned(label, turn))).scores
        best = turns(label.ndim)[int(scores.argmax())]
        np.testing.assert_array_equal(turned(turned(label, turn), best), label)


def test_turns_that_change_the_size_have_no_score(sample):
    image, label = sample
    scores = agreement(image[..., :-8], label[..., :-8]).scores
    fits = [sorted(order[:-1]) == list(range(label.ndim - 1)) for order, _ in turns(label.ndim)]
    np.testing.assert_array_equal(~np.isnan(scores), fits)


def test_the_strength_of_edges_has_no_unit(sample):
    image, _ = sample
    np.testing.assert_allclose(edge_ranks(image), edge_ranks(1000 * image - 7), atol=1e-2)


def test_ignored_pixels_have_no_borders():
    label = np.zeros((6, 6), np.uint8)
    label[:, 3:] = 255
    assert not borders_of(label).any()
    label[:, 5:] = 1
    assert not borders_of(label).any()


def test_labels_without_borders_and_flat_images_say_nothing(sample):
    image, label = sample
    assert agreement(image, np.zeros_like(label)) is None
    assert agreement(np.ones_like(image), label) is None


def test_turns_are_told_in_words():
    assert describe(((0, 1), (False, True))) == "flipped along width"
    assert describe(((1, 0), (True, True))) == "with height and width exchanged and flipped along height and width"


def test_each_sample_is_read_once():
    class Counting:
        cases = [type("Case", (), dict(images=(__file__,), files=(__file__,), name=__file__))()] * 5
        read = []

        def __len__(self):
            return 5

        def inspect(self, index):
            self.read.append(index)
            raise ValueError("nothing here")

    dataset = Counting()
    assert [look.fault for look in look_through(dataset)] == [f"{__file__}: nothing here"] * 5
    assert dataset.read == [0, 1, 2, 3, 4]
