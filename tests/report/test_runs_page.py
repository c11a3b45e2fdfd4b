"""The page of training runs: what its curves are made of, and the page in a headless Chromium without a network."""

import numpy as np
import pytest

from densevit.cli import main
from densevit.report.board import board_pictures
from densevit.report.pages.curves import UP, make_panels
from densevit.runs.run import open_runs
from tests.runs.made import BEGUN, trained, validated, write_run

SCRIPT, IMAGE = "<script>alert(1)<", '"><img src=x onerror=alert(1)>'


def draw(folder, tone):
    """The pictures of a validation at iteration 20, as training gives them to TensorBoard: three side by side."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    parts = [np.full((6, 8, 3), value, np.uint8) for value in (100, 200, tone)]
    writer = EventFileWriter(str(folder / "tensorboard"))
    for step in (20, 40):
        image = Summary.Image(height=6, width=24, encoded_image_string=png(np.concatenate(parts, axis=1) + step))
        writer.add_event(Event(step=step, summary=Summary(value=[Summary.Value(tag="val_0", image=image)])))
    writer.close()
    return folder


def png(array):
    from io import BytesIO

    from PIL import Image

    with BytesIO() as file:
        Image.fromarray(array).save(file, "PNG")
        return file.getvalue()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two runs of names that want to run, of which one failed and has other classes."""
    root = tmp_path_factory.mktemp("runs")
    rows = [*trained(range(10, 21, 10)), validated(20, 60.0, (SCRIPT, IMAGE))]
    log = f"{BEGUN}10:00:01 ERROR   the run failed: ValueError: {SCRIPT}\n"
    first = write_run(root / SCRIPT)
    second = write_run(root / IMAGE, rows=rows, log=log, classes=(SCRIPT, IMAGE), seed=SCRIPT, loss=IMAGE)
    return draw(first, 30), draw(second, 60)


@pytest.fixture(scope="module")
def page(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "page.html"
    assert main(["report", *map(str, folders), "--html", str(out)]) == 0
    return out


@pytest.fixture
def shown(tab, page):
    tab.requests.clear()
    return tab.open(page)


def texts(selector):
    return f"[...document.querySelectorAll({selector!r})].map(it => it.textContent)"


def test_it_loads_without_a_network_an_error_or_a_request(shown):
    assert shown.messages == shown.dialogs == []
    assert [address for address in shown.requests if not address.startswith(("file:", "data:"))] == []
    assert shown.run("[...document.images].every(picture => picture.naturalWidth > 0)")


def test_hostile_names_stay_text(shown):
    assert shown.run(texts("#runs th"))[1:] == [SCRIPT, IMAGE]
    assert shown.run(texts("#differences td:first-child")) == ["loss", "seed"]
    assert repr(SCRIPT) in shown.run(texts("#differences td"))
    assert shown.run("[...document.images].every(picture => picture.src.startsWith('data:'))")


def test_what_failed_and_what_does_not_compare_is_said_first(shown):
    warnings = shown.run(texts(".warning"))
    assert warnings[0] == f"{IMAGE}: failed at 20 of 40: ValueError: {SCRIPT}."
    assert "do not compare" in warnings[1]


def test_a_box_hides_a_run_in_all_curves_and_pictures(shown):
    left = "[...new Set([...document.querySelectorAll('[data-of]:not(.off)')].map(it => it.dataset.of))]"
    assert shown.run(left) == [SCRIPT, IMAGE]
    shown.run("document.querySelectorAll('input[data-layer]')[1].click()")
    assert shown.run(left) == [SCRIPT]


def test_predictions_of_one_image_stand_side_by_side(shown):
    assert shown.run(texts(".pictures figcaption")) == ["image", "truth", SCRIPT, IMAGE]


def test_a_value_that_was_not_recorded_is_named_so(tmp_path, capsys):
    run = write_run(tmp_path / "run", rows=[dict(iter=10, loss=1.0)], weights=False)
    out = tmp_path / "page.html"
    assert main(["report", str(run), "--html", str(out), "--json", str(tmp_path / "runs.json")]) == 0
    printed = capsys.readouterr().out
    assert "not recorded: best mIoU, best mIoU at" in printed
    assert "peak memory, GB" in out.read_text()
    assert (tmp_path / "runs.json").is_file()


def test_pictures_are_those_of_the_validation_that_is_asked_for(folders):
    (image, truth, prediction) = board_pictures(folders[0] / "tensorboard", iteration=20)["validation image 1"]
    assert [part[0, 0, 0] for part in (image, truth, prediction)] == [120, 220, 50]
    assert board_pictures(folders[0] / "tensorboard", iteration=None)["validation image 1"][2][0, 0, 0] == 70


def test_curves_are_broken_where_rows_are_missing(tmp_path):
    rows = [*trained([10, 20, 30, 60, 70]), validated(70, 1.0), dict(iter=80, loss=None)]
    (loss, score, _), others = make_panels(open_runs([write_run(tmp_path / "run", rows=rows)]))
    assert (loss.title, loss.curves[0].faint.count("M")) == ("loss", 2)
    assert score.curves[0].strong.endswith("h0")
    assert [text for _, _, text in score.curves[0].marks] == ["run: 1.00 at 70"]
    assert "memory_gb" in [panel.title for panel in others]


def test_a_curve_of_many_rows_keeps_its_peaks_and_few_points(tmp_path):
    rows = trained(range(1, 9001))
    rows[4000]["lr"] = 9.0
    (_, lr), _ = make_panels(open_runs([write_run(tmp_path / "run", rows=rows)]))
    points = lr.curves[0].strong.strip("M").replace("L", " ").split()
    heights = np.array(points[1::2], float)
    assert len(heights) < 500
    assert heights.min() < 0.2 * UP
