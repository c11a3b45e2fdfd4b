"""`densevit doctor`: what it prints and writes, and its exit code."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densevit.cli import main
from tests.doctor.sets import MadeSet

BOTH = pytest.mark.parametrize("rank", [2, 3], ids=["pictures", "scans"])
SCRIPT = Path(__file__).parents[2] / "tools" / "doctor.py"
BROWSE = SCRIPT.with_name("browse_dataset.py")
CONFIGS = Path(__file__).parents[2] / "configs"
BASES = {2: CONFIGS / "segformer_b0_synthetic.py", 3: CONFIGS / "unetr_synthetic_ct.py"}


@pytest.fixture
def made(tmp_path):
    return lambda rank, **options: MadeSet(rank, tmp_path / "set", **options)


def with_a_wrong_value(made_set):
    label = made_set.labels["train"][3]
    label[label == 2] = 9
    made_set.write()
    return made_set.folder


def run(*words):
    return main(["doctor", *map(str, words), "--workers", "0"])


@BOTH
def test_a_healthy_set_is_none_of_an_error(made, rank, capsys):
    healthy = made(rank)
    healthy.write()
    assert run(healthy.folder) == 0
    said = capsys.readouterr().out
    assert re.search(r"train: 12 (pictures|scans) of 3 classes", said)
    assert re.search(r"house +\S+ +12 +\S+", said)
    assert said.endswith("0 errors, 0 warnings, 0 notes\n")


@BOTH
def test_errors_are_told_and_make_the_exit_code(made, rank, capsys):
    assert run(with_a_wrong_value(made(rank))) == 1
    said = capsys.readouterr().out
    assert re.search(r"error: train: .*t03.* 9", said)
    assert "1 error, 0 warnings, 0 notes" in said
    assert "1 of which cannot be used" in said


@BOTH
def test_the_others_are_looked_at_where_the_first_file_is_damaged(made, rank, capsys):
    bad = made(rank)
    bad.write()
    (path,) = (bad.folder / "images" / "train").glob("t00.*")
    path.write_bytes(b"nothing")
    assert run(bad.folder) == 1
    assert re.search(r"train: 12 (pictures|scans) of 3 classes, 1 of which cannot be used", capsys.readouterr().out)


def test_only_the_splits_that_are_asked_for_are_looked_at(made, capsys):
    folder = with_a_wrong_value(made(2))
    assert run(folder, "--split", "val") == 0
    assert "train:" not in capsys.readouterr().out


@BOTH
def test_all_files_are_in_the_json(made, rank, tmp_path):
    assert run(with_a_wrong_value(made(rank)), "--json", tmp_path / "out" / "found.json") == 1
    found = json.loads((tmp_path / "out" / "found.json").read_text())
    (finding,) = found["findings"]
    assert (finding["severity"], finding["check"], finding["count"]) == ("error", "files", 1)
    assert found["splits"]["train"]["readable"] == 11
    assert [each["name"] for each in found["splits"]["val"]["classes"]] == ["ground", "house", "tree"]


@BOTH
def test_the_page_shows_the_files_and_asks_for_nothing(made, rank, tmp_path):
    bad = made(rank)
    bad.labels["train"][7] = bad.labels["train"][7][::-1]
    bad.write()
    run(bad.folder, "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 1
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=\"(?!data:)|<link|@import", page)


@BOTH
def test_the_page_shows_images_whose_labels_are_wrong(made, rank, tmp_path):
    run(with_a_wrong_value(made(rank)), "--html", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count("<img") == 1


def test_names_with_html_in_them_are_text_on_the_page(made, tmp_path):
    bad = made(2, classes=("<b>ground</b>", "house", "<script>alert(1)</script>"))
    bad.folder = tmp_path / "<i>set"
    bad.labels["train"][7] = bad.labels["train"][7][::-1]
    bad.write()
    run(bad.folder, "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.fixture
def config(made, tmp_path):
    """Write a config that trains on a healthy set."""

    def write(rank):
        configs = made(rank).write()
        crop = dict(crop_size=(32, 32), _delete_=True)
        if rank == 3:
            crop = dict(crop_size=(16, 16, 16), scale=(1.0, 1.0), rotate=0.0, noise=0.0, _delete_=True)
        lines = [
            f"_base_ = '{BASES[rank]}'",
            "model = dict(num_classes=3)",
            "loss = [dict(type='cross_entropy')]",
            f"train_data = dict(dataset=dict(_delete_=True, **{configs['train']}), augment={crop})",
            f"val_data = dict(dataset=dict(_delete_=True, **{configs['val']}))",
            "test_data = None",
        ]
        (tmp_path / "config.py").write_text("\n".join(lines))
        return tmp_path / "config.py"

    return write


def test_names_with_line_breaks_stay_on_one_line(made, tmp_path, capsys):
    bad = made(2)
    bad.folder = tmp_path / "set\nerror: all is lost"
    bad.images["train"][8], bad.labels["train"][8] = bad.images["train"][1], bad.labels["train"][1]
    bad.write()
    assert run(bad.folder) == 0
    said = capsys.readouterr().out
    assert "warning: train: 1 of 12 images are there twice" in said
    assert "\nerror" not in said


def test_a_config_is_looked_at_as_it_trains(config, capsys):
    path = config(2)
    assert run(path) == 0
    assert "val: 4 pictures of 3 classes" in capsys.readouterr().out
    assert run(path, "--split", "test") == 2
    assert "has no test_data; it has train, val" in capsys.readouterr().err


@BOTH
def test_augmented_samples_are_drawn_as_the_network_sees_them(config, rank, tmp_path):
    path = config(rank)
    assert run(path, "--augmented", tmp_path / "drawn", "--count", 3) == 0
    drawn = [np.asarray(Image.open(file)) for file in sorted((tmp_path / "drawn").iterdir())]
    assert len(drawn) == 3
    assert all(picture.ndim == 3 and picture.std() > 10 for picture in drawn)
    assert not np.array_equal(drawn[0], drawn[1])
    colours = (drawn[0].max(-1).astype(int) - drawn[0].min(-1)) > 30
    assert colours.any()  # those of the classes


def test_augmented_samples_need_a_config(made, tmp_path, capsys):
    healthy = made(2)
    healthy.write()
    assert run(healthy.folder, "--augmented", tmp_path / "drawn") == 2
    assert "--augmented needs a config" in capsys.readouterr().err


def test_the_script_of_augmented_samples_is_the_command(config, tmp_path):
    words = [sys.executable, BROWSE, config(2), "--output-dir", tmp_path / "drawn", "--count", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "drawn").iterdir())) == 2


def test_a_folder_that_is_no_set_is_refused_in_one_sentence(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("nothing")
    assert run(tmp_path) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_script_is_the_command(made):
    folder = with_a_wrong_value(made(2))
    shutil.rmtree(folder / "images" / "val")
    done = subprocess.run([sys.executable, SCRIPT, folder, "--quiet"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "error: train:" in done.stdout


def test_arrays_that_no_label_belongs_to_can_be_drawn():
    from densevit.report.thumbnails import draw_plane

    shown = draw_plane(np.linspace(-1000, 500, 12, dtype=np.float32).reshape(1, 3, 4), None, palette=[(0, 0, 0)])
    assert (shown.shape, shown.dtype) == ((3, 4, 3), np.uint8)
