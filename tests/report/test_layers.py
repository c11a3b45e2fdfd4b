"""Errors of a case by the structures that they concern."""

from base64 import b64decode
from io import BytesIO

import numpy as np
from PIL import Image

from densevit.labels import parse_color
from densevit.report.pages.layers import ERRORS, MOST_NUMBERS, error_layers, number_errors

PAINT = {"liver": ((1,), (9, 0, 0)), "spleen": ((2,), (0, 9, 0)), "either": ((1, 2), (0, 0, 9))}
MISSED, FALSE, OTHER = 1, 2, 3
TRUTH = np.array([[1, 0, 2, 2, 0]])
PREDICTION = np.array([[0, 2, 1, 2, -1]])
WRONG = np.array([[MISSED, FALSE, OTHER, 0, 0]], np.uint8)


def test_an_error_is_drawn_for_each_structure_that_is_true_or_predicted_there():
    layers = error_layers(WRONG, (TRUTH, PREDICTION), PAINT)
    drawn = {name: read(address) for name, address in layers.items()}
    missed, false, other = map(parse_color, ERRORS.values())
    assert drawn["liver"] == [missed, None, other, None, None]
    assert drawn["spleen"] == [None, false, other, None, None]
    assert drawn["either"] == [missed, false, other, None, None]


def test_the_viewer_knows_of_each_number_which_structures_it_concerns():
    numbered, table = number_errors(WRONG, TRUTH, PREDICTION, PAINT)
    of = [set(table["of"][number]) for number in numbered[0]]
    assert of == [{"liver", "either"}, {"spleen", "either"}, {"liver", "spleen", "either"}, set(), set()]
    colors = [tuple(table[part][number] for part in "RGB") for number in numbered[0, :3]]
    assert colors == [parse_color(color) for color in ERRORS.values()]
    assert table["A"] == [0, 255, 255, 255]


def test_a_case_without_errors_has_none_of_either():
    nothing = np.zeros_like(WRONG)
    assert error_layers(nothing, (TRUTH, PREDICTION), PAINT) == {}
    numbered, table = number_errors(nothing, TRUTH, PREDICTION, PAINT)
    assert not numbered.any()
    assert table["of"] == [[]]


def test_errors_of_more_kinds_than_a_byte_counts_share_the_last_number():
    truth, prediction = (np.ravel(part) + 1 for part in np.meshgrid(range(18), range(18)))
    wrong = np.where(truth == prediction, 0, OTHER).astype(np.uint8)
    paint = {str(value): ((value,), (value, 0, 0)) for value in range(1, 19)}
    numbered, table = number_errors(wrong, truth, prediction, paint)
    assert len(table["of"]) == MOST_NUMBERS + 1
    assert (numbered[wrong > 0] > 0).all()
    for number, true, predicted in zip(numbered, truth, prediction, strict=True):
        assert number == 0 or {str(true), str(predicted)} <= set(table["of"][number])


def read(address):
    """The colours of the pixels of a picture one pixel high, None where nothing is drawn."""
    pixels = np.asarray(Image.open(BytesIO(b64decode(address.partition(",")[2]))).convert("RGBA"))[0]
    return [tuple(pixel[:3]) if pixel[3] else None for pixel in pixels.tolist()]
