"""No added error improves a mean: whatever the predictions are, structures are removed, added and moved away."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from densevit.metrics import MeasureOptions, case_values, measure, summarize
from densevit.metrics.options import CHOICES
from densevit.metrics.records import kind_of

CLASSES = ["background", "one", "two", "three"]
OPTIONS = MeasureOptions(metrics=tuple(name for name in CHOICES if name != "cldice"), tolerances=(1.0, 3.0))
FREE = 12  # from this column on nothing is true or predicted
MOVED = 30  # so far that every distance is then larger than any inside the first columns


def draw_maps(draw, *, classes):
    """A label map of boxes in the first columns; later boxes hide earlier ones."""
    labels = np.zeros((10, FREE + MOVED), np.uint8)
    for _ in range(draw(st.integers(0, 4))):
        row, column = draw(st.integers(0, 9)), draw(st.integers(0, FREE - 1))
        height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
        labels[row : row + height, column : min(FREE, column + width)] = draw(st.sampled_from(classes))
    return labels


@st.composite
def data_sets(draw):
    """Cases of different extent: truth, prediction, spacing."""
    cases = []
    for _ in range(draw(st.integers(1, 4))):
        step = draw(st.sampled_from([0.2, 1.0, 7.0]))
        spacing = (step, step * draw(st.sampled_from([1.0, 2.0])))
        cases.append((draw_maps(draw, classes=[1, 2, 3]), draw_maps(draw, classes=[1, 2, 3]), spacing))
    return cases


def means(cases, edge_is_border=True):
    options = MeasureOptions(OPTIONS.metrics, OPTIONS.tolerances, edge_is_border=edge_is_border)
    records = [
        record
        for i, (truth, prediction, spacing) in enumerate(cases)
        for record in measure(prediction, truth, CLASSES, spacing, options, case=str(i))
    ]
    return {(row.metric, row.structure): row.mean for row in summarize(records).rows if row.level == "case"}


def assert_no_better(before, after):
    for (metric, structure), value in before.items():
        kind, later = kind_of(metric), after[metric, structure]
        if math.isnan(value):
            continue
        assert not math.isnan(later)
        gain = (later - value) * (1 if kind.best > kind.worst else -1)
        assert gain <= 1e-9 * max(1, abs(value)), (metric, structure, value, later)


def change(cases, at, edit):
    truth, prediction, spacing = cases[at]
    prediction = prediction.copy()
    edit(truth, prediction)
    return [*cases[:at], (truth, prediction, spacing), *cases[at + 1 :]]


@given(data=st.data(), cases=data_sets(), edge_is_border=st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_removed_structure_improves_a_mean(data, cases, edge_is_border):
    there = [(i, k) for i, (truth, prediction, _) in enumerate(cases) for k in (1, 2, 3) if (truth == k).any()]
    if not there:
        return
    at, label = data.draw(st.sampled_from(there))

    def remove(truth, prediction):
        prediction[prediction == label] = 0

    assert_no_better(means(cases, edge_is_border), means(change(cases, at, remove), edge_is_border))


@given(data=st.data(), cases=data_sets())
@settings(max_examples=60, deadline=None)
def test_no_false_structure_improves_a_mean(data, cases):
    lacking = [
        (i, k)
        for i, (truth, prediction, _) in enumerate(cases)
        for k in (1, 2, 3)
        if not (truth == k).any() and not (prediction == k).any()
    ]
    if not lacking:
        return
    at, label = data.draw(st.sampled_from(lacking))
    row, column = data.draw(st.integers(0, 9)), data.draw(st.integers(0, FREE + MOVED - 1))

    def add(truth, prediction):
        empty = (truth == 0) & (prediction == 0)
        box = np.zeros_like(empty)
        box[row : row + 3, column : column + 4] = True
        prediction[box & empty] = label

    assert_no_better(means(cases), means(change(cases, at, add)))


@given(data=st.data(), cases=data_sets())
@settings(max_examples=60, deadline=None)
def test_no_structure_moved_away_improves_a_mean(data, cases):
    found = [
        (i, k)
        for i, (truth, prediction, _) in enumerate(cases)
        for k in (1, 2, 3)
        if (truth == k).any() and (prediction == k).any()
    ]
    if not found:
        return
    at, label = data.draw(st.sampled_from(found))

    def move(truth, prediction):
        places = np.argwhere(prediction == label)
        prediction[prediction == label] = 0
        prediction[places[:, 0], places[:, 1] + MOVED] = label

    assert_no_better(means(cases), means(change(cases, at, move)))


@given(data=st.data(), cases=data_sets())
@settings(max_examples=60, deadline=None)
def test_no_voxel_made_wrong_improves_an_overlap_of_a_case_or_of_the_set(data, cases):
    at = data.draw(st.integers(0, len(cases) - 1))
    truth, prediction, _ = cases[at]
    right = np.argwhere(truth == prediction)
    if not len(right):
        return
    row, column = right[data.draw(st.integers(0, len(right) - 1))]

    def spoil(truth, prediction):
        prediction[row, column] = (truth[row, column] + data.draw(st.integers(1, 3))) % 4

    rows = []
    for version in (cases, change(cases, at, spoil)):
        options = MeasureOptions(metrics=(), include_background=True)
        records = [
            record
            for i, (truth, prediction, spacing) in enumerate(version)
            for record in measure(prediction, truth, CLASSES, spacing, options, case=str(i))
        ]
        rows.append({(r.metric, f"{r.structure} {r.level}"): r.mean for r in summarize(records).rows})
    overlaps = {key: mean for key, mean in rows[0].items() if key[0] in ("dice", "iou", "precision", "recall")}
    assert_no_better(overlaps, rows[1])


def test_a_miss_in_a_small_case_counts_as_the_diagonal_of_the_largest():
    truth, empty = np.zeros((10, 10), int), np.zeros((10, 10), int)
    truth[2:5, 2:5] = 1
    far = np.roll(truth, 5, axis=1)
    options = MeasureOptions(metrics=("hd",))
    records = measure(far, truth, {"a": 1}, (50.0, 50.0), options, case="large")
    records += measure(truth, empty, {"a": 1}, (1.0, 1.0), options, case="small")
    assert case_values(records, "hd") == pytest.approx([250, np.hypot(500, 500)])
    assert np.isnan(records[1].values["hd"])  # as measured, there is no distance


def test_a_volume_error_is_no_distance_however_small_the_voxels():
    truth = np.eye(10, dtype=int)
    records = measure(np.zeros_like(truth), truth, {"a": 1}, (1e-3, 1e-3))
    assert case_values(records, "volume_error") == [1]
    assert case_values(records, "assd") == pytest.approx([np.hypot(0.01, 0.01)])


def test_beside_each_mean_stands_what_it_is_a_mean_of():
    some, empty = np.zeros((10, 10), int), np.zeros((10, 10), int)
    some[2:5, 2:5] = 1
    pairs = [(some, some), (empty, some), (some, empty), (empty, empty), (np.roll(some, 5), some)]
    records = [record for i, (p, t) in enumerate(pairs) for record in measure(p, t, {"a": 1, "b": 2}, case=str(i))]
    row = summarize(records).row("dice", "a")
    assert (row.n, row.found, row.misplaced, row.missed, row.false, row.absent) == (4, 1, 1, 1, 1, 1)
    assert row.mean == 0.25
    mean = summarize(records).row("dice")
    assert (mean.mean, mean.n, mean.absent) == (0.25, 4, 6)
    assert summarize(records).row("dice", "a", level="set").mean == pytest.approx(2 * 9 / (27 + 27))
    table = summarize(records).table()
    assert "both empty" in table
    assert "hd95_max" in table
    with pytest.raises(KeyError, match="no hd by case"):
        summarize(records).row("hd")
