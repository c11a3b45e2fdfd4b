"""Borders and distances: definitions written out, MONAI, and numbers of DeepMind's surface-distance."""

from itertools import product

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage
from scipy.spatial.distance import cdist

from densevit.metrics import (
    MeasureOptions,
    border_cells,
    border_distances,
    border_voxels,
    boundary_iou,
    centreline_dice,
    measure_masks,
    surfel_distances,
)
from densevit.metrics import distances as mm
from densevit.metrics.borders import cell_areas
from tests.metrics.shapes import CASES, KINDS, make_pair, one_hot

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:monai")
on_all_cases = pytest.mark.parametrize(("size", "spacing"), CASES, ids=str)
on_all_kinds = pytest.mark.parametrize("kind", KINDS)


@on_all_cases
@on_all_kinds
def test_hd_hd95_assd_and_both_nsd_are_those_of_monai(kind, size, spacing):
    prediction, truth = make_pair(kind, size)
    voxels = border_distances(prediction, truth, spacing)
    surfels = surfel_distances(prediction, truth, spacing)
    pair, options = (one_hot(prediction), one_hot(truth)), dict(spacing=spacing)
    assert mm.hd(voxels) == pytest.approx(compute_hausdorff_distance(*pair, **options).item(), rel=1e-6)
    assert mm.hd95_max(voxels) == pytest.approx(
        compute_hausdorff_distance(*pair, percentile=95, **options).item(),
        rel=1e-5,  # theirs interpolates in float32
    )
    assert mm.assd(voxels) == pytest.approx(
        compute_average_surface_distance(*pair, symmetric=True, **options).item(), rel=1e-6
    )
    for tolerance in (0.0, 1.0, 2.0):
        for found, subvoxels in ((voxels, False), (surfels, True)):
            theirs = compute_surface_dice(*pair, [tolerance], use_subvoxels=subvoxels, **options).item()
            assert mm.nsd(found, tolerance) == pytest.approx(theirs, abs=1e-6)


@on_all_cases
@on_all_kinds
@pytest.mark.parametrize("connectivity", [1, 2, 3])
@pytest.mark.parametrize("edge_is_border", [True, False])
def test_border_voxels_are_those_that_erosion_takes_away(kind, size, spacing, connectivity, edge_is_border):
    mask = make_pair(kind, size)[0]
    structure = ndimage.generate_binary_structure(mask.ndim, min(connectivity, mask.ndim))
    eroded = ndimage.binary_erosion(mask, structure, border_value=not edge_is_border)
    found = border_voxels(mask, connectivity=connectivity, edge_is_border=edge_is_border)
    assert np.array_equal(found, np.argwhere(mask & ~eroded))


@on_all_cases
@on_all_kinds
def test_each_distance_is_its_definition_over_all_pairs_of_points(kind, size, spacing):
    prediction, truth = make_pair(kind, size)
    a, b = (border_voxels(mask) * np.array(spacing) for mask in (prediction, truth))
    table = cdist(a, b)
    there, back = table.min(1), table.min(0)
    both, found = np.concatenate([there, back]), border_distances(prediction, truth, spacing)
    assert np.allclose(found.from_prediction, there, atol=1e-9)
    assert np.allclose(found.from_truth, back, atol=1e-9)
    assert mm.hd(found) == pytest.approx(both.max())
    assert mm.hd95_max(found) == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert mm.hd95_pooled(found) == pytest.approx(np.percentile(both, 95))
    assert mm.assd(found) == pytest.approx(both.mean())
    assert mm.masd(found) == pytest.approx((there.mean() + back.mean()) / 2)
    assert mm.rmsd(found) == pytest.approx(np.sqrt((both**2).mean()))
    p, r = (there <= 2).mean(), (back <= 2).mean()
    assert mm.boundary_f(found, 2) == pytest.approx(2 * p * r / (p + r) if p + r else 0)


@on_all_kinds
def test_the_distance_transform_gives_what_the_tree_gives(kind, monkeypatch):
    prediction, truth = make_pair(kind, (15, 18, 13))
    by_tree = border_distances(prediction, truth, (3.0, 0.8, 0.7))
    monkeypatch.setattr(mm, "MANY_POINTS", 0)
    by_transform = border_distances(prediction, truth, (3.0, 0.8, 0.7))
    assert np.allclose(by_tree.from_prediction, by_transform.from_prediction, atol=1e-9)
    assert np.allclose(by_tree.from_truth, by_transform.from_truth, atol=1e-9)


def waves(size, shift=0.0):
    """A mask that needs no random numbers."""
    grid = np.indices(size).astype(float)
    return sum(np.sin((0.5 + 0.1 * axis) * (x + shift) + axis) for axis, x in enumerate(grid)) > 0.3


@pytest.mark.parametrize(
    ("size", "spacing", "nsd", "hd95", "masd"),
    [  # surface-distance 0.1 on waves(size, 1.0) and waves(size), tolerance 1.5 mm
        ((30, 40), (1.0, 1.0), 0.986595718768, 1.414213562373, 0.574318584833),
        ((30, 40), (0.7, 2.5), 0.894784847790, 2.500000000000, 0.607860017709),
        ((14, 16, 18), (1.0, 1.0, 1.0), 0.994888174142, 1.414213562373, 0.295435161911),
        ((14, 16, 18), (3.0, 0.8, 0.7), 0.987218608949, 1.063014581273, 0.232909387364),
    ],
    ids=str,
)
def test_surfels_give_what_surface_distance_gives(size, spacing, nsd, hd95, masd):
    found = surfel_distances(waves(size, 1.0), waves(size), spacing)
    assert mm.nsd(found, 1.5) == pytest.approx(nsd, abs=1e-9)
    assert mm.hd95_surfel(found) == pytest.approx(hd95, abs=1e-9)
    assert mm.masd(found) == pytest.approx(masd, abs=1e-9)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 2.5), (1.0, 1.0, 1.0), (3.0, 0.8, 0.7)], ids=str)
def test_a_cells_surface_is_the_same_seen_from_inside_and_from_outside(spacing):
    areas = cell_areas(spacing)
    assert areas[0] == areas[-1] == 0
    assert (areas[1:-1] > 0).all()
    assert np.array_equal(areas, areas[::-1])


def test_the_surface_of_a_box_is_its_sides_less_the_cut_edges():
    mask = np.zeros((12, 14, 16), bool)
    mask[1:-1, 1:-1, 1:-1] = True
    _, areas = border_cells(mask, (1.0, 2.0, 3.0))
    sides = 2 * (10 * 24 + 10 * 42 + 24 * 42)
    assert 0.9 * sides < areas.sum() < sides
    cells, _ = border_cells(mask, (1.0, 2.0, 3.0), edge_is_border=False)
    assert cells.min() == 0
    assert len(cells) == len(areas)  # the box ends one voxel before the array


def test_an_edge_that_is_no_border_leaves_only_the_sides_inside_the_array():
    mask = np.zeros((10, 20), bool)
    mask[:4] = True
    assert set(border_voxels(mask, edge_is_border=False)[:, 0].tolist()) == {3}
    assert set(border_cells(mask, (1, 1), edge_is_border=False)[0][:, 0].tolist()) == {3}
    assert set(border_voxels(mask)[:, 0].tolist()) == {0, 1, 2, 3}
    assert border_cells(mask, (1, 1))[0].min() == -1


def test_unknown_voxels_make_no_border_and_hold_none():
    mask, unknown = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    unknown[:, 5:] = True  # the right side lies where nothing is known
    found = {tuple(place) for place in border_voxels(mask, unknown=unknown).tolist()}
    assert found == {(r, c) for r in range(2, 7) for c in range(2, 5) if r in (2, 6) or c == 2}
    cells, _ = border_cells(mask, (1, 1), unknown=unknown)
    assert cells[:, 1].max() == 3  # the cell of columns 3 and 4; that of 4 and 5 holds unknown voxels


@pytest.mark.parametrize("tolerance", [2.1, 0.3, 0.7 * 3])
def test_a_distance_that_rounding_puts_above_the_tolerance_is_within_it(tolerance):
    prediction, truth = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    truth[5], prediction[8] = True, True
    assert mm.nsd(border_distances(prediction, truth, (tolerance / 3, 1)), tolerance) == 1


@on_all_cases
@on_all_kinds
@pytest.mark.parametrize("width", [1, 3])
def test_boundary_iou_in_pixels_is_that_of_erosions_by_a_square(kind, size, spacing, width):
    pair = make_pair(kind, size)
    square = np.ones((3,) * len(size), bool)
    bands = [mask & ~ndimage.binary_erosion(mask, square, iterations=width) for mask in pair]
    expected = (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
    assert boundary_iou(*pair, width) == pytest.approx(expected)


@on_all_cases
@on_all_kinds
@pytest.mark.parametrize("edge_is_border", [True, False])
def test_boundary_iou_in_mm_takes_what_is_near_a_voxel_outside(kind, size, spacing, edge_is_border):
    pair = make_pair(kind, size)
    bands = []
    for mask in pair:
        padded = np.pad(mask, int(edge_is_border))
        inside, outside = np.argwhere(padded) * spacing, np.argwhere(~padded) * spacing
        near = cdist(inside, outside).min(1, initial=np.inf) <= 2.5 + 1e-9
        bands.append({tuple(place) for place in np.argwhere(padded)[near].tolist()})
    union = bands[0] | bands[1]
    expected = len(bands[0] & bands[1]) / len(union) if union else 1.0
    assert boundary_iou(*pair, 2.5, spacing, edge_is_border=edge_is_border) == pytest.approx(expected)


def test_centreline_dice_sees_a_gap_that_dice_hardly_sees():
    truth = np.zeros((40, 60), bool)
    truth[18:23, 5:55] = True
    prediction = truth.copy()
    prediction[:, 25:35] = False
    assert centreline_dice(truth, truth) == 1
    assert 0.85 < centreline_dice(prediction, truth) < 0.95
    assert centreline_dice(prediction, np.zeros_like(truth)) == 0
    assert np.isnan(centreline_dice(np.zeros_like(truth), np.zeros_like(truth)))
    tube = np.zeros((20, 20, 40), bool)
    tube[8:13, 8:13, 3:37] = True
    assert centreline_dice(tube, tube) == 1


@pytest.mark.parametrize(("a", "b"), list(product([False, True], repeat=2)))
def test_what_has_no_distance_is_nan_whatever_is_empty(a, b):
    values, _ = measure_masks(np.full((6, 7), a), np.full((6, 7), b), options=MeasureOptions(metrics=("hd", "assd")))
    assert [np.isnan(v) for v in values.values()] == [not (a and b)] * 2


def test_masks_that_fill_an_array_without_borders_are_as_good_as_can_be():
    options = MeasureOptions(
        metrics=("hd", "nsd_voxel", "nsd_surfel", "boundary_iou"), edge_is_border=False, tolerances=(1.0,)
    )
    full = np.ones((6, 7), bool)
    values, _ = measure_masks(full, full, options=options)
    assert values == {"hd": 0, "nsd_voxel@1": 1, "nsd_surfel@1": 1, "boundary_iou": 1}
    part = full.copy()
    part[3:] = False
    assert np.isnan(measure_masks(part, full, options=options)[0]["hd"])


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, -2.0), (1.0, float("nan"))], ids=str)
def test_a_spacing_that_is_none_is_refused(spacing):
    with pytest.raises(ValueError, match="2 positive numbers of mm"):
        border_distances(np.ones((3, 3), bool), np.ones((3, 3), bool), spacing)


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        border_distances(np.ones((3, 3), bool), np.ones((3, 4), bool))
    assert torch.is_tensor(one_hot(np.ones((2, 2), bool)))
