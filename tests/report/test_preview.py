"""Three planes of a scan with its structures."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from densevit.labels import structure_colors
from densevit.report.planes import gray_window, slices_through
from densevit.report.preview import draw_preview, place_planes, save_preview
from densevit.volumes.grid import Grid
from densevit.volumes.volume import Volume

CLASSES, VALUES = ("background", "liver", "tumour"), (0, 2, 7)
SIZE, SPACING = (10, 60, 40), (5.0, 1.0, 1.0)


@pytest.fixture
def volume(tmp_path):
    image = np.zeros((1, *SIZE), np.float32)
    image[:, :, :30] = 100
    affine = np.diag([*SPACING[::-1], 1.0])
    return Volume(image, Grid(SIZE, affine), tmp_path / "scan.nii.gz", affine)


def make_label():
    """A liver in front at the patient's right, a small tumour behind at the left."""
    label = np.zeros(SIZE, np.uint8)
    label[2:8, 40:55, 25:38] = 2
    label[7:9, 5:12, 3:10] = 7
    return label


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def where(picture, color):
    """Rows and columns of what is tinted by a colour: it stands out from grey in the colour's direction."""
    tint = np.array(color) - np.mean(color)
    shown = picture - picture.mean(-1, keepdims=True)
    length = np.linalg.norm(shown, axis=-1)
    return np.argwhere((length > 20) & ((shown @ tint) > 0.97 * length * np.linalg.norm(tint)))


def test_a_preview_shows_right_on_the_left_and_the_front_at_the_top(volume, tmp_path):
    save_preview(tmp_path / "out" / "scan.png", volume, make_label(), classes=CLASSES, values=VALUES)
    picture = read(tmp_path / "out" / "scan.png")
    places, height = place_planes(SIZE, SPACING, below=0.44)
    left, bottom, across, up = (part * 110 for part in places[0])  # pixels of the axial plane
    top = height * 110 - bottom - up
    liver, tumour = (where(picture, color) for color in structure_colors(3)[1:])
    for found, middle in ((liver, ((60 - 47.5) / 60, (40 - 31.5) / 40)), (tumour, ((60 - 8.5) / 60, (40 - 6.5) / 40))):
        inside = found[(found[:, 1] > left) & (found[:, 1] < left + across) & (found[:, 0] < top + up)]
        centre = (inside.min(0) + inside.max(0)) / 2
        np.testing.assert_allclose((centre - (top, left)) / (up, across), middle, atol=0.03)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scan.png"]


def test_planes_have_the_proportions_of_millimetres():
    places, _ = place_planes(SIZE, SPACING, below=0.4)
    (_, _, axial_w, axial_h), (_, _, coronal_w, coronal_h), (_, _, sagittal_w, sagittal_h) = places
    assert axial_h / axial_w == pytest.approx(60 / 40)
    assert coronal_h / coronal_w == pytest.approx(50 / 40)
    assert sagittal_h / sagittal_w == pytest.approx(50 / 60)
    assert axial_w == pytest.approx(coronal_w)  # one scale


def test_small_structures_are_cut_as_well_as_large_ones():
    label = np.zeros((20, 30, 30), np.uint8)
    label[2:18, 5:25, 5:25] = 1
    label[15, 10:12, 10:12] = 2
    assert slices_through(label, [1, 2])[0] == 15
    assert slices_through(np.zeros_like(label), []) == (10, 15, 15)


def test_a_ct_is_shown_in_its_soft_tissue_window_and_other_scans_between_percentiles():
    ramp = np.linspace(0, 1, 1000, dtype=np.float32).reshape(10, 10, 10)
    assert gray_window(ramp * 3000 - 1024) == (-160, 240)
    low, high = gray_window(ramp * 500)
    assert low == pytest.approx(5, abs=1)
    assert high == pytest.approx(497.5, abs=1)
    assert gray_window(np.full((4, 4, 4), 7.0))[1] > 7


@pytest.mark.parametrize("structures", [0, 60])
def test_a_scan_without_structures_and_one_with_many_are_drawn(volume, tmp_path, structures):
    label = np.zeros(SIZE, np.uint8)
    label.reshape(-1)[: structures * 100] = np.repeat(np.arange(structures), 100)
    names = [f"structure {i}" for i in range(structures or 2)]
    save_preview(tmp_path / "scan.png", volume, label, classes=names, values=range(len(names)))
    assert read(tmp_path / "scan.png").shape[1] == 1210


def test_a_label_of_another_size_is_refused(volume, tmp_path):
    with pytest.raises(ValueError, match=r"the label has \(2, 2, 2\) voxels"):
        save_preview(tmp_path / "x.png", volume, np.zeros((2, 2, 2), np.uint8), classes=CLASSES, values=VALUES)


def test_names_are_drawn_as_they_stand_and_without_a_warning(volume, tmp_path):
    """A file may be called what matplotlib takes for mathematics, and a class in letters that its font lacks."""
    named = replace(volume, path=tmp_path / "a$b\\frac$c.nii.gz")
    label = np.ones(volume.grid.size, np.uint8)
    figure = draw_preview(named, label, classes=["_腫瘍 $x$ ü"], values=[1])
    figure.canvas.draw()
    assert figure.texts[0].get_text().startswith(r"a\$b\frac\$c.nii.gz ")
    assert figure.legends[0].get_texts()[0].get_text().startswith(r"_?? \$x\$ ü ")
