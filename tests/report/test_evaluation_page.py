"""The page of an evaluation: what it holds, that it loads nothing, and that a browser without a network shows it."""

import gzip
import json
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from html import unescape

import nibabel
import numpy as np
import pytest
from PIL import Image

from densevit.cli import main
from tests.report.browser import COMMAND, browser

SCRIPT, IMAGE = "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'


def streets(folder):
    """Six pictures of two classes, of which one prediction is missing and one is worse than the others."""
    for name in ("truth", "good", "poor", "images"):
        (folder / name).mkdir()
    (folder / "truth" / "classes.json").write_text(json.dumps({"road": 0, SCRIPT: 1}))
    for i, name in enumerate([IMAGE, *"abcde"]):
        label = np.zeros((40, 60), np.uint8)
        label[10:30, 10:40] = 1
        Image.fromarray(label).save(folder / "truth" / f"{name}.png")
        Image.fromarray(np.dstack([label * 100 + 50] * 3)).save(folder / "images" / f"{name}.jpg")
        Image.fromarray(np.roll(label, 8 if i == 0 else 1, 1)).save(folder / "good" / f"{name}.png")
        Image.fromarray(np.roll(label, 9, 1)).save(folder / "poor" / f"{name}.png")
    (folder / "good" / "e.png").unlink()
    (folder / "table.csv").write_text(
        "case,town\n"
        + "".join(f'"{name}",{i % 2}\n' for i, name in enumerate(['""><img src=x onerror=alert(1)>', *"abcde"]))
    )
    return folder


def scans(folder, labels):
    label = np.zeros((20, 24, 16), np.uint8)
    label[4:12, 4:12, 4:12] = 1
    for name, content in (("truth", label), ("predicted", np.where(np.indices(label.shape)[2] > 8, 0, label))):
        (folder / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(content.astype(np.uint8), np.diag([1, 1, 3, 1])), folder / name / "a.nii.gz")
    (folder / "truth" / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder


def write_page(folder, *words, predicted="good"):
    out = folder / "page.html"
    named = [str(folder / predicted), str(folder / "truth")]
    assert main(["evaluate", *named, "--report", str(out), "--workers", "0", "--quiet", *map(str, words)]) == 0
    return out


@pytest.fixture(scope="module")
def of_streets(tmp_path_factory):
    folder = streets(tmp_path_factory.mktemp("streets"))
    table = ("--table", folder / "table.csv", "--strata", "town")
    return write_page(folder, "--against", folder / "poor", "--images", folder / "images", *table)


@pytest.fixture(scope="module")
def of_scans(tmp_path_factory):
    folder = scans(tmp_path_factory.mktemp("scans"), {"background": 0, "liver": 1})
    return write_page(folder, predicted="predicted")


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if COMMAND is None:
        pytest.skip("no Chromium is installed; Debian calls it chromium")
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def test_a_page_holds_all_that_it_shows(of_streets):
    text = of_streets.read_text()
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert addresses
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert "http:" not in text
    assert "https:" not in text


@pytest.mark.parametrize("kind", ["style", "script"])
def test_the_policy_of_a_page_allows_its_own_style_and_script_alone(of_streets, kind):
    text = of_streets.read_text()
    (inline,) = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.strip().split(" ", 1) for rule in unescape(policy).split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules[f"{kind}-src"] == f"'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'"


def test_names_are_escaped(of_streets):
    text = of_streets.read_text()
    assert SCRIPT not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<img" not in text


@pytest.mark.parametrize(
    "words", ["Means over cases", "Confusion", "Strata", "Models by dice", "1 predictions are missing: e"]
)
def test_a_page_has_a_part_for_all_there_is(of_streets, words):
    assert words in of_streets.read_text()


def test_a_page_leaves_out_what_there_is_not(of_scans):
    text = of_scans.read_text()
    assert not [part for part in ("Strata", "Models by", "are missing") if part in text]


def test_the_case_without_a_prediction_is_the_worst(of_streets):
    first, *others = re.findall(r"<h3>(worst|median): (.*), dice", of_streets.read_text())
    assert first == ("worst", "e")
    assert others[0][1].startswith("&#34;&gt;&lt;img")
    assert [place for place, _ in others] == ["worst"] * 3 + ["median"]


def test_a_volume_is_first_shown_where_its_largest_error_is(of_scans):
    shown = re.findall(r'<span data-slice="\d+">(\w+) (\d+) of (\d+)</span>', of_scans.read_text())
    assert [(view, int(size)) for view, _, size in shown] == [("axial", 16), ("coronal", 24), ("sagittal", 20)]
    assert 9 < int(shown[0][1]) <= 12


def test_where_a_voxel_may_be_of_two_structures_there_is_no_confusion(tmp_path):
    folder = scans(tmp_path, {"background": 0, "liver": 1, "either": [1, 2]})
    assert "Confusion" not in write_page(folder, predicted="predicted").read_text()


def test_a_page_of_a_policy_without_means_over_cases(tmp_path):
    text = write_page(streets(tmp_path), "--policy", "mmseg").read_text()
    assert "Means over cases" not in text
    assert "over all pixels of the set" in text


def test_images_need_a_page(tmp_path, capsys):
    folder = scans(tmp_path, {"liver": 1})
    words = ["evaluate", folder / "predicted", folder / "truth", "--images", folder]
    assert main([*map(str, words)]) == 2
    assert "give --report FILE as well" in capsys.readouterr().err


def test_a_page_loads_without_a_network_an_error_or_a_request(tab, of_streets):
    tab.open(of_streets)
    assert tab.messages == tab.dialogs == []
    assert [address for address in tab.requests if not address.startswith(("file:", "data:"))] == []


def test_hostile_names_stay_text(tab, of_streets):
    tab.open(of_streets)
    assert tab.run("document.querySelector('#by-case tbody').rows[1].cells[0].textContent") == SCRIPT
    assert tab.run("[...document.querySelectorAll('h3')].some(head => head.textContent.includes('<img src=x'))")
    assert tab.run("document.images.length") == 0
    assert tab.dialogs == []


def test_a_table_is_sorted_by_the_column_that_is_clicked(tab, of_streets):
    tab.open(of_streets)
    values = "[...document.querySelectorAll('#by-case tbody tr')].map(row => Number(row.cells[1].dataset.value))"
    click = "document.querySelectorAll('#by-case th button')[1].click()"
    tab.run(click)
    assert tab.run(values) == sorted(tab.run(values))
    tab.run(click)
    assert tab.run(values) == sorted(tab.run(values), reverse=True)


def seen(selector, what):
    """JavaScript for what is said by the elements that are not hidden."""
    return f"[...document.querySelectorAll('{selector}')].filter(it => it.getClientRects().length).map(it => it.{what})"


def choose(selector, value):
    """JavaScript of a hand that sets a control."""
    return (
        f"it = document.querySelector('{selector}'); it.value = '{value}';"
        "it.dispatchEvent(new Event('input')); it.dispatchEvent(new Event('change'))"
    )


def test_a_list_chooses_the_metric_that_is_shown(tab, of_streets):
    tab.open(of_streets)
    assert tab.run(seen("[data-part]", "dataset.part")) == ["dice"]
    tab.run(choose("select", "iou"))
    assert tab.run(seen("[data-part]", "dataset.part")) == ["iou"]


def test_a_box_hides_a_class_in_all_pictures(tab, of_streets):
    tab.open(of_streets)
    assert set(tab.run(seen("[data-of]", "dataset.of"))) == {"road", SCRIPT}
    tab.run("document.querySelectorAll('input[data-layer]')[1].click()")
    assert set(tab.run(seen("[data-of]", "dataset.of"))) == {"road"}


def test_a_button_hides_all_classes_and_shows_them_again(tab, of_streets):
    tab.open(of_streets)
    before = tab.run(seen("[data-of]", "dataset.of"))
    tab.run("document.querySelector('button[data-all]').click()")
    assert tab.run(seen("[data-of]", "dataset.of")) == []
    tab.run("document.querySelector('button[data-all]').click()")
    assert tab.run(seen("[data-of]", "dataset.of")) == before


def test_a_slider_goes_through_the_slices_of_a_volume(tab, of_scans):
    tab.open(of_scans)
    before = tab.run(seen("span[data-slice]", "textContent"))
    assert len(before) == 3
    tab.run(choose("input[data-slices]", 0))
    after = tab.run(seen("span[data-slice]", "textContent"))
    assert after[0] != before[0]
    assert after[1:] == before[1:]


@pytest.fixture
def viewer(tab, of_scans):
    """The page of a scan, whose viewer is open."""
    tab.open(of_scans)
    tab.messages.clear()
    tab.run("scene = document.querySelector('[data-scene]'); scene.querySelector('[data-open]').click()")
    for _ in range(300):
        if tab.run("Boolean(scene.viewer)"):
            return tab
        if "no WebGL" in tab.run("scene.textContent"):
            pytest.skip("this Chromium has no WebGL 2")
        tab.run("new Promise(done => setTimeout(done, 50))")
    raise AssertionError(tab.messages)


def test_the_viewer_opens_a_volume_where_its_largest_error_is(viewer):
    assert viewer.run("scene.viewer.volumes.map(volume => volume.name)") == ["image.nii.gz", "truth.nii.gz"]
    place = json.loads(viewer.run("scene.dataset.place"))
    assert viewer.run("[...scene.viewer.frac2vox(scene.viewer.scene.crosshairPos)]") == place
    assert 8 < place[2] < 12
    assert [m for m in viewer.messages if m.get("entry", {}).get("level") != "warning"] == []


def test_the_wheel_goes_through_the_slices_of_the_viewer(viewer):
    before = viewer.run("[...scene.viewer.scene.crosshairPos]")
    viewer.run("scene.scrollIntoView()")
    left, top, width, height = viewer.run("[...scene.viewer.screenSlices[0].leftTopWidthHeight]")
    box = viewer.run("(({left, top}) => [left, top])(scene.querySelector('canvas').getBoundingClientRect())")
    where = dict(x=box[0] + left + width / 3, y=box[1] + top + height / 3)
    viewer.call("Input.dispatchMouseEvent", type="mouseWheel", deltaX=0, deltaY=10, **where)
    after = viewer.run("[...scene.viewer.scene.crosshairPos]")
    assert [a != b for a, b in zip(before, after, strict=True)] == [False, False, True]


def test_the_viewer_shows_the_masks_and_classes_that_are_chosen(viewer):
    viewer.run(choose("[data-scene] select", "prediction"))
    assert viewer.run("scene.viewer.volumes[1].name") == "prediction.nii.gz"
    alpha = "scene.viewer.volumes[1].colormapLabel.lut[4 + 3]"
    assert viewer.run(alpha) == 255
    viewer.run("document.querySelector('input[data-layer]').click()")
    assert viewer.run(alpha) == 0


def test_what_the_viewer_is_given_are_files_of_the_label_on_its_own_grid(of_scans):
    text = re.search(r'data-file="truth">([^<]*)<', of_scans.read_text())[1]
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(b64decode(text)))
    own = nibabel.load(of_scans.parent / "truth" / "a.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), np.asarray(own.dataobj))
    assert np.allclose(image.affine, own.affine)


def test_pages_of_pictures_hold_no_viewer(of_streets, of_scans):
    assert "niivue" not in of_streets.read_text()
    assert "Copyright (c) 2021, Niivue" in of_scans.read_text()


@pytest.mark.real
@pytest.mark.parametrize("name", ["camvid11", "Task04_Hippocampus"])
def test_pages_of_real_sets_load(tab, shared_data, tmp_path, name):
    truth, images, pattern = {
        "camvid11": ("labels/val", "images/val", "*.png"),
        "Task04_Hippocampus": ("labelsTr", "imagesTr", "*.nii.gz"),
    }[name]
    for folder in ("truth", "predicted"):
        (tmp_path / folder).mkdir()
    files = sorted((shared_data / name / truth).glob(pattern))[:4]
    for i, path in enumerate(files):
        (tmp_path / "truth" / path.name).symlink_to(path)
        (tmp_path / "predicted" / path.name).symlink_to(files[0] if name == "camvid11" or i == 0 else path)
    page = write_page(tmp_path, "--images", shared_data / name / images, "--metrics", predicted="predicted")
    tab.messages.clear()
    tab.open(page)
    assert tab.messages == []
    assert tab.run("document.querySelectorAll('.plane image.soft').length") >= 4
