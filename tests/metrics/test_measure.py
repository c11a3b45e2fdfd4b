"""Records of cases: counts, regions, what is ignored, and what is refused."""

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou

from densevit.metrics import (
    ConfusionMatrix,
    LesionOptions,
    MeasureOptions,
    accuracy,
    detection,
    measure,
    measure_masks,
    summarize,
)
from densevit.metrics.options import CHOICES
from tests.metrics.shapes import CASES, make_pair

CLASSES = ["background", "liver", "spleen", "cyst"]
ALL = MeasureOptions(metrics=CHOICES, tolerances=(1.0, 2.5))

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:monai")


def make_maps(size, seed=0, *, ignored=False):
    """Label maps of 4 classes, the last of which is in neither; 255 in a corner of the truth if `ignored`."""
    rng = np.random.default_rng(seed)
    prediction, truth = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    for label in (1, 2):
        a, b = make_pair("blobs", size, int(rng.integers(1000)))
        prediction[a], truth[b] = label, label
    if ignored:
        truth[tuple(slice(0, n // 2) for n in size)] = 255
    return prediction, truth


def records_of(*arguments, **options):
    return {record.structure: record for record in measure(*arguments, **options)}


@pytest.mark.parametrize(("size", "spacing"), CASES, ids=str)
def test_a_record_has_the_values_of_its_masks_in_the_whole_array(size, spacing):
    prediction, truth = make_maps(size)
    records = records_of(prediction, truth, CLASSES, spacing, ALL, case="a")
    assert list(records) == ["liver", "spleen", "cyst"]
    for label, name in enumerate(CLASSES[1:3], start=1):
        record, masks = records[name], (prediction == label, truth == label)
        values, lesions = measure_masks(*masks, spacing, ALL)
        assert record.values == pytest.approx(record.counts.values() | values)
        assert record.lesions == lesions
        assert record.values["dice"] == pytest.approx(2 * (masks[0] & masks[1]).sum() / sum(m.sum() for m in masks))
        assert record.volumes == pytest.approx([m.sum() * np.prod(spacing) for m in masks])
    assert records["cyst"].status == "absent"
    assert all(np.isnan(value) for value in records["cyst"].values.values())
    assert record.diagonal == pytest.approx(np.sqrt(sum((n * s) ** 2 for n, s in zip(size, spacing, strict=True))))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64], ids=str)
def test_tensors_of_any_integer_type_give_the_numbers_of_arrays(dtype):
    prediction, truth = make_maps((20, 22))
    expected = measure(prediction, truth, CLASSES, options=ALL)
    found = measure(torch.from_numpy(prediction).to(dtype), torch.from_numpy(truth).to(dtype), CLASSES, options=ALL)
    assert [r.values for r in found[:2]] == [r.values for r in expected[:2]]


@pytest.mark.parametrize("dtype", [">i2", ">i4", "u2", "u4", "i8", "?"])
def test_arrays_of_any_integer_type_and_byte_order_are_taken(dtype):
    truth, classes = make_maps((20, 22))[1] == 1, {"liver": np.int64(1)}
    record = measure(truth.astype(dtype)[::-1], truth[::-1], classes, options=ALL)[0]
    assert record.values["dice"] == 1
    assert record.values["hd"] == 0


def test_overlaps_are_those_of_monai_and_of_the_confusion_matrix():
    prediction, truth = make_maps((15, 18, 13))
    pair = [
        torch.nn.functional.one_hot(torch.from_numpy(m).long(), 4).movedim(-1, 0)[None] for m in (prediction, truth)
    ]
    matrix = ConfusionMatrix(4)
    matrix.update(prediction, truth)
    scores = matrix.compute()
    records = measure(prediction, truth, CLASSES, options=MeasureOptions(metrics=(), include_background=True))
    for i, record in enumerate(records[:3]):
        assert record.values["dice"] == pytest.approx(compute_dice(*pair)[0, i].item(), abs=1e-6)
        assert record.values["iou"] == pytest.approx(compute_iou(*pair)[0, i].item(), abs=1e-6)
        assert record.values["recall"] == pytest.approx(scores.recall[i].item())
        assert record.values["precision"] == pytest.approx(scores.precision[i].item())
    assert accuracy(records) == pytest.approx(scores.aAcc)
    rows = {row.metric: row.mean for row in summarize(records).rows if row.structure is None and row.level == "set"}
    assert rows["iou"] == pytest.approx(scores.mIoU)
    assert rows["dice"] == pytest.approx(scores.mDice)


def test_accuracy_needs_every_class():
    prediction, truth = make_maps((20, 22))
    with pytest.raises(ValueError, match="include_background"):
        accuracy(measure(prediction, truth, CLASSES, options=MeasureOptions(metrics=())))


@pytest.mark.parametrize(("size", "spacing"), CASES, ids=str)
def test_a_region_is_the_union_of_its_labels(size, spacing):
    prediction, truth = make_maps(size)
    records = records_of(prediction, truth, {"whole": (1, 2), "core": 2}, spacing, ALL)
    union = records_of((prediction > 0).astype(int), (truth > 0).astype(int), {"whole": 1}, spacing, ALL)
    assert records["whole"].values == union["whole"].values
    assert records["core"].values == records_of(prediction, truth, CLASSES, spacing, ALL)["spleen"].values


def test_a_label_that_is_named_is_never_ignored():
    truth = np.zeros((9, 9), np.uint8)
    truth[2:5] = 255
    assert records_of(truth, truth, {"car": 255})["car"].values["dice"] == 1


@pytest.mark.parametrize(("size", "spacing"), CASES, ids=str)
def test_what_is_predicted_in_an_ignored_region_changes_nothing(size, spacing):
    prediction, truth = make_maps(size, ignored=True)
    other = prediction.copy()
    other[truth == 255] = 2
    values = [[record.values for record in measure(p, truth, CLASSES[:3], spacing, ALL)] for p in (prediction, other)]
    assert values[0] == values[1]


@pytest.mark.parametrize(("size", "spacing"), CASES, ids=str)
@pytest.mark.parametrize("width", [None, 1.5, 4.0])
def test_the_box_of_a_structure_beside_an_ignored_region_is_large_enough(size, spacing, width):
    prediction, truth = make_maps(size, ignored=True)
    prediction[truth == 1], truth[truth == 1] = 0, 0
    truth[size[0] // 2 - 3 :][truth[size[0] // 2 - 3 :] == 2] = 0  # so that its box is smaller than the array
    options = MeasureOptions(metrics=CHOICES, boundary_width=width)
    record = measure(prediction, truth, CLASSES[:3], spacing, options)[1]
    values, _ = measure_masks(prediction == 2, truth == 2, spacing, options, unknown=truth == 255)
    assert record.values == pytest.approx(record.counts.values() | values, nan_ok=True)


def test_the_rim_of_an_ignored_region_is_no_border_unless_asked_for():
    truth, prediction = np.zeros((20, 40), np.uint8), np.zeros((20, 40), np.uint8)
    truth[5:15, 5:35] = prediction[5:15, 5:35] = 1
    prediction[5:15, 33:35] = 0
    truth[:, 20:] = 255  # beyond lies all that is wrong
    for rim, borders in ((False, 0), (True, 0)):
        options = MeasureOptions(metrics=("hd",), ignored_is_border=rim)
        assert measure(prediction, truth, {"a": 1}, options=options)[0].values["hd"] == borders
    prediction[5:15, 17:20] = 0  # now it ends before the region
    values = [
        measure(prediction, truth, {"a": 1}, options=MeasureOptions(metrics=("hd",), ignored_is_border=rim))[0].values
        for rim in (False, True)
    ]
    # Its end is 3 columns from the rim, which counts as border only where asked for; else from the long sides.
    assert values[1]["hd"] == 3
    assert values[0]["hd"] == 4


def test_the_rim_counts_for_monai():
    prediction, truth = make_maps((15, 18, 13), ignored=True)
    known = torch.from_numpy(truth != 255)
    pair = [torch.from_numpy(m == 1) & known for m in (prediction, truth)]
    theirs = compute_hausdorff_distance(*[torch.stack([~m, m])[None].float() for m in pair], percentile=95)
    options = MeasureOptions(metrics=("hd95_max",), ignored_is_border=True)
    ours = measure(prediction, truth, CLASSES[:3], options=options)[0]
    assert ours.values["hd95_max"] == pytest.approx(theirs.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("prediction", "truth", "status"),
    [(1, 1, "found"), (0, 1, "missed"), (1, 0, "false"), (0, 0, "absent")],
)
def test_the_status_says_who_has_the_structure(prediction, truth, status):
    maps = [np.full((4, 5), value) for value in (prediction, truth)]
    assert measure(*maps, {"a": 1})[0].status == status


def test_a_structure_elsewhere_is_misplaced_and_detected_nowhere():
    truth, prediction = np.zeros((9, 30), int), np.zeros((9, 30), int)
    truth[2:5, 2:5], prediction[2:5, 20:23] = 1, 1
    records = [*measure(prediction, truth, {"a": 1}, case="x"), *measure(truth, truth, {"a": 1}, case="y")]
    assert [record.status for record in records] == ["misplaced", "found"]
    found = detection(records)["a"]
    assert (found.found, found.missed, found.false) == (1, 1, 1)
    assert (found.sensitivity, found.precision, found.f1) == (0.5, 0.5, 0.5)


def test_the_published_volume_difference_keeps_its_sign_and_the_error_is_bounded():
    truth, prediction = np.zeros((10, 10), int), np.zeros((10, 10), int)
    truth[0, :2], prediction[0, :8] = 1, 1
    record = measure(prediction, truth, {"a": 1})[0]
    assert record.volume_difference == 3
    assert record.values["volume_error"] == 0.75


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(prediction=np.zeros((4, 5), np.float32)), "integer class indices"),
        (dict(prediction=np.full((4, 5), np.nan), classes={"a": 1}), "integer class indices"),
        (dict(prediction=np.zeros((4, 6), int)), "one shape"),
        (dict(prediction=np.full((4, 5), 7)), "holds 7"),
        (dict(classes=["a", "a"]), "name of its own"),
        (dict(spacing=(1, 2, 3)), "2 positive numbers"),
        (dict(prediction=np.zeros((0, 5), int), truth=np.zeros((0, 5), int)), "with voxels"),
        (dict(truth=np.full((4, 5), 30001), classes={"a": 1}), "instances"),
    ],
    ids=lambda change: next(iter(change)) if isinstance(change, dict) else None,
)
def test_what_cannot_be_measured_is_refused(change, message):
    call = dict(prediction=np.zeros((4, 5), int), truth=np.zeros((4, 5), int), classes=["background", "a"])
    with pytest.raises(ValueError, match=message):
        measure(**(call | change))


@pytest.mark.parametrize("options", [dict(metrics=("hd96",)), dict(tolerances=(-1.0,)), dict(connectivity=0)], ids=str)
def test_options_that_say_nothing_are_refused(options):
    with pytest.raises(ValueError, match=r"choose from|must be"):
        MeasureOptions(**options)


def test_repeated_cases_are_refused():
    record = measure(np.ones((4, 5), int), np.ones((4, 5), int), {"a": 1})
    with pytest.raises(ValueError, match="2 records of a"):
        summarize(record + record)


@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [({"b": 1}, MeasureOptions(), "no record of"), ({"a": 1}, MeasureOptions(metrics=("hd",)), "different metrics")],
)
def test_records_from_which_something_would_vanish_are_refused(classes, options, message):
    maps = [np.ones((4, 5), int)] * 2
    with pytest.raises(ValueError, match=message):
        summarize([*measure(*maps, {"a": 1}, case="x"), *measure(*maps, classes, options=options, case="y")])


def test_lesion_options_reach_the_lesions():
    prediction, truth = make_maps((20, 22))
    options = MeasureOptions(metrics=("lesion_hd95",), lesions=LesionOptions(penalty=374.0))
    record = measure(np.zeros_like(prediction), truth, CLASSES, options=options)[0]
    assert record.values["lesion_hd95"] == 374
