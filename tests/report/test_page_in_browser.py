"""The page of an evaluation in a headless Chromium without a network: it loads, sorts, chooses and slides."""

import json

import pytest

from tests.report.evaluated import SCRIPT, write_page


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


def test_errors_follow_the_boxes_of_the_classes_that_are_true_or_predicted_there(tab, of_streets):
    tab.open(of_streets)
    errors = "figure:last-child .plane [data-of]"
    before = tab.run(seen(errors, "dataset.of"))
    assert set(before) == {"road", SCRIPT}
    tab.run("document.querySelectorAll('input[data-layer]')[1].click()")
    assert set(tab.run(seen(errors, "dataset.of"))) == {"road"}
    tab.run("document.querySelectorAll('input[data-layer]')[0].click()")
    assert tab.run(seen(errors, "dataset.of")) == []


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


def test_the_viewer_keeps_its_height_when_the_window_changes_and_its_words_stay_on_white(viewer):
    size = dict(deviceScaleFactor=1, mobile=False)
    viewer.call("Emulation.setDeviceMetricsOverride", width=900, height=600, **size)
    viewer.run("new Promise(done => setTimeout(done, 100))")
    assert viewer.run("scene.querySelector('canvas').getBoundingClientRect().height") == 560
    viewer.call("Emulation.clearDeviceMetricsOverride")
    assert viewer.run("getComputedStyle(scene).backgroundColor") == "rgba(0, 0, 0, 0)"


def test_the_errors_of_the_viewer_follow_the_boxes(viewer):
    viewer.run(choose("[data-scene] select", "errors"))
    assert viewer.run("scene.viewer.volumes[1].name") == "errors.nii.gz"
    alpha = "scene.viewer.volumes[1].colormapLabel.lut[4 + 3]"
    assert viewer.run(alpha) == 255
    viewer.run("document.querySelector('input[data-layer]').click()")
    assert viewer.run(alpha) == 0


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
