"""The largest piece of a structure, and its holes, against MONAI's transforms."""

import numpy as np
import pytest
from scipy import ndimage

from densevit.predictor.structures import Cleaning
from tools.peers import import_peer

CLASSES, VALUES = ("background", "liver", "tumour"), np.array([0, 2, 7])
LIVER, TUMOUR = 2, 7


def blobs(seed, *, liver_above=0.02, size=(22, 26, 24)):
    """Two structures in several pieces with holes, one inside the other in places; a low threshold makes one piece."""
    rng = np.random.default_rng(seed)
    liver, tumour = (ndimage.gaussian_filter(rng.standard_normal(size), sigma) for sigma in (1.5, 1.0))
    label = np.where(liver > liver_above, LIVER, 0)
    label[tumour > 0.12] = TUMOUR
    label[rng.random(size) < 0.02] = 0
    return label.astype(np.uint8)


def cleaned(label, **options):
    label = label.copy()
    cleaning = Cleaning(**options)
    cleaning.check(CLASSES, VALUES)
    cleaning(label, classes=CLASSES, values=VALUES)
    return label


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("names", [["liver"], ["tumour"], []], ids=str)
def test_the_largest_component_is_the_one_that_monai_keeps(seed, names):
    label = blobs(seed)
    values = [int(VALUES[CLASSES.index(name)]) for name in names] or [LIVER, TUMOUR]
    keep = import_peer("monai.transforms").KeepLargestConnectedComponent(applied_labels=values)
    expected = np.asarray(keep(label[None].copy()))[0]
    assert not np.array_equal(expected, label)
    assert np.array_equal(cleaned(label, largest_component=names), expected)


@pytest.mark.parametrize("seed", range(4))
def test_filled_is_the_background_that_monai_fills(seed):
    label = blobs(seed, liver_above=-0.1)
    masks = np.stack([label == value for value in (0, LIVER, TUMOUR)]).astype(np.uint8)
    fill = import_peer("monai.transforms").FillHoles(applied_labels=[1])
    filled = np.asarray(fill(masks))[1].astype(bool)
    expected = np.where(filled & (label == 0), LIVER, label)
    assert not np.array_equal(expected, label)
    assert np.array_equal(cleaned(label, fill_holes=["liver"]), expected)


def test_a_tumour_inside_a_liver_stays_and_a_hole_at_the_border_is_open():
    label = np.zeros((9, 9, 9), np.uint8)
    label[:7, 1:8, 1:8] = LIVER
    label[3:5, 3:5, 3:5] = 0
    label[3, 3, 3] = TUMOUR
    label[0, 5, 5] = 0  # open: it lies at the border of the scan
    filled = cleaned(label, fill_holes=[])
    assert filled[4, 4, 4] == LIVER
    assert filled[3, 3, 3] == TUMOUR
    assert filled[0, 5, 5] == 0


def test_pieces_go_before_holes_are_filled():
    label = np.zeros((9, 9, 9), np.uint8)
    label[1:8, 1:8, 1:8] = LIVER
    label[3:6, 3:6, 3:6] = 0
    label[4, 4, 4] = LIVER
    assert (cleaned(label, largest_component=[], fill_holes=[])[1:8, 1:8, 1:8] == LIVER).all()


def test_nothing_is_changed_unless_it_is_asked_for():
    label = blobs(0)
    assert np.array_equal(cleaned(label), label)
    empty = np.zeros((4, 4, 4), np.uint8)
    assert not cleaned(empty, largest_component=[], fill_holes=[]).any()


@pytest.mark.parametrize(
    ("options", "values", "message"),
    [
        (dict(fill_holes=["livr"]), VALUES, "no class to clean up is named 'livr'; did you mean liver"),
        (dict(largest_component=["background"]), VALUES, "has the label value 0, which is background"),
        (dict(largest_component=[]), [1, 2, 7], "have no background"),
    ],
    ids=str,
)
def test_classes_that_cannot_be_cleaned_are_told(options, values, message):
    with pytest.raises(ValueError, match=message):
        Cleaning(**options).check(CLASSES, values)
