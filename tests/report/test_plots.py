"""Curves, sheets and coloured label maps."""

import sys

import numpy as np
import pytest
from PIL import Image

from densevit.report import compare_curves, plot_curves, prediction_sheet
from densevit.report.plots import series, smooth

PALETTE = [(128, 64, 128), (244, 35, 232), (70, 70, 70)]
CLASSES = ("road", "sidewalk", "building")


def run(n: int = 60) -> list[dict]:
    rows = [dict(iter=i, loss=2.0 / (1 + 0.1 * i), lr=6e-5 * (1 - i / n)) for i in range(1, n + 1)]
    return [*rows, *(dict(iter=i, mIoU=0.5 * i) for i in (20, 40, 60))]


def rows(n: int, size: tuple[int, int] = (20, 40)) -> list[tuple]:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, size).astype(np.uint8)
    label[-3:] = 255
    return [(rng.integers(0, 256, (*size, 3), dtype=np.uint8), label, label % 3) for _ in range(n)]


def read(path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def holds(picture: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((picture == color).all(-1).any())


def test_smooth_keeps_straight_lines_and_calms_noise():
    line = np.linspace(3, 1, 200)
    np.testing.assert_allclose(smooth(line), line)
    noise = np.random.default_rng(0).normal(size=400)
    assert smooth(noise)[20:-20].std() < 0.4 * noise.std()


def test_series_leaves_out_rows_without_a_finite_value():
    scalars = [dict(iter=1, loss=2.0), dict(iter=2, loss=None), dict(iter=3, mIoU=1.0), dict(iter=4, loss=float("nan"))]
    x, y = series([*scalars, dict(iter=5, loss=1)], "loss")
    np.testing.assert_array_equal(x, [1, 5])
    np.testing.assert_array_equal(y, [2.0, 1.0])


def test_curves_are_drawn_as_one_panel_a_scalar(tmp_path):
    whole = read(plot_curves(run(), tmp_path / "curves.png"))
    loss = read(plot_curves([dict(iter=i, loss=1.0 / i) for i in range(1, 9)], tmp_path / "loss.png"))
    assert whole.shape[0] > 1.5 * loss.shape[0]
    assert holds(whole, (0x1F, 0x5F, 0xA8))  # loss
    assert holds(whole, (0x2B, 0x8A, 0x57))  # mIoU
    assert holds(whole, (0xD9, 0x66, 0x1F))  # learning rate
    assert not holds(loss, (0x2B, 0x8A, 0x57))


def test_a_run_of_one_row_is_drawn(tmp_path):
    assert read(plot_curves([dict(iter=1, loss=0.7, lr=0.0, mIoU=0.0)], tmp_path / "curves.png")).std() > 0


def test_a_run_that_measured_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="none of the 1 rows"):
        plot_curves([dict(iter=1, loss=float("nan"))], tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []


def test_curves_that_agree_are_both_seen(tmp_path):
    points = [(i, 1.0 / i) for i in range(1, 50)]
    picture = read(compare_curves({"ours": points, "theirs": points}, tmp_path / "both.png", ylabel="loss"))
    alone = read(compare_curves({"ours": points}, tmp_path / "one.png", ylabel="loss"))
    assert holds(picture, (0xD9, 0x66, 0x1F))
    assert not holds(alone, (0xD9, 0x66, 0x1F))


def test_a_run_without_points_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"got none for \['theirs'\]"):
        compare_curves({"ours": [(1, 2.0)], "theirs": []}, tmp_path / "both.png", ylabel="loss")


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (900, 2)], ids=str)
def test_a_sheet_of_pictures_of_any_shape_is_of_a_size_that_can_be_looked_at(tmp_path, size):
    picture = read(prediction_sheet(rows(6, size), tmp_path / "sheet.png", palette=PALETTE, classes=CLASSES))
    assert max(picture.shape) < 6000


def test_a_sheet_shows_the_classes_in_their_colors(tmp_path):
    picture = read(prediction_sheet(rows(2), tmp_path / "sheet.png", palette=PALETTE, classes=CLASSES))
    assert all(holds(picture, color) for color in (*PALETTE, (0, 0, 0)))


def test_a_sheet_has_at_most_the_asked_number_of_rows(tmp_path):
    sheets = [
        read(prediction_sheet(rows(n), tmp_path / f"{n}.png", palette=PALETTE, classes=CLASSES, max_rows=2))
        for n in (1, 2, 5)
    ]
    assert sheets[0].shape[0] < sheets[1].shape[0] == sheets[2].shape[0]


def test_a_sheet_takes_pictures_of_several_sizes(tmp_path):
    mixed = [*rows(1, (20, 40)), *rows(1, (60, 30))]
    assert read(prediction_sheet(mixed, tmp_path / "sheet.png", palette=PALETTE, classes=CLASSES)).std() > 0


def test_a_sheet_without_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one row"):
        prediction_sheet([], tmp_path / "sheet.png", palette=PALETTE, classes=CLASSES)


def test_a_sheet_refuses_a_prediction_of_another_size(tmp_path):
    image, label, _ = rows(1)[0]
    with pytest.raises(ValueError, match=r"of one size, got \(20, 40\), \(20, 40\) and \(10, 20\)"):
        prediction_sheet([(image, label, label[:10, :20])], tmp_path / "s.png", palette=PALETTE, classes=CLASSES)


def test_folders_are_made_and_an_older_picture_is_replaced(tmp_path):
    path = tmp_path / "new" / "curves.png"
    plot_curves(run(5), path)
    path.write_bytes(b"old")
    plot_curves(run(5), path)
    read(path)
    assert [p.name for p in path.parent.iterdir()] == ["curves.png"]


def test_a_failed_drawing_keeps_the_older_picture(tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plot_curves(run(5), path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["curves.png"]


def test_drawing_leaves_no_state_in_pyplot(tmp_path):
    loaded = "matplotlib.pyplot" in sys.modules
    plot_curves(run(5), tmp_path / "curves.png")
    assert ("matplotlib.pyplot" in sys.modules) == loaded
