"""`densevit analyze`: what it writes and says, for pictures and scans, and what it refuses."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

import densevit
from densevit.analyze.inputs import read_images
from densevit.analyze.speed import read_score
from densevit.cli import main
from densevit.inference import SliceOptions
from tests.analyze.conftest import save_checkpoint
from tests.cli.conftest import config  # noqa: F401
from tests.report.conftest import tab  # noqa: F401

SCRIPT = Path(__file__).parents[2] / "tools" / "analyze.py"
OUTPUTS = ["stage 1", "stage 2", "stage 3", "stage 4", "decoder", "logits"]


def analyze(*words):
    return main(["analyze", *map(str, words), "--quiet"])


def facts(folder):
    return json.loads((folder / "analysis.json").read_text())


@pytest.fixture(scope="module")
def analysed(run, photo_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysis")
    assert analyze(run, photo_file, "-o", folder, "--query", 60, 20) == 0
    return folder


def test_an_analysis_of_a_picture_is_pictures_a_page_and_facts(analysed):
    names = ["analysis.html", "analysis.json", "attention_00.png", "receptive_field.png", "tokens_00.png"]
    assert sorted(path.name for path in analysed.iterdir()) == names
    found = facts(analysed)
    assert found["images"] == ["<b>street"]
    assert found["receptive_field"]["size"] == [64, 96]  # of 72 x 100 the middle, in whole strides
    assert found["receptive_field"]["averaged_over"] == "1 image"
    assert [each["output"] for each in found["receptive_field"]["outputs"]] == OUTPUTS
    for each in found["receptive_field"]["outputs"]:
        small, middle, large = each["sizes"].values()
        assert 1 <= small <= middle <= large <= 97
    for name in names[2:]:
        with Image.open(analysed / name) as picture:
            assert np.asarray(picture.convert("RGB")).std() > 10


def test_the_page_opens_in_a_browser_without_a_network_and_shows_its_pictures(tab, analysed):  # noqa: F811
    tab.open(analysed / "analysis.html")
    assert tab.messages == tab.dialogs == []
    assert [address for address in tab.requests if not address.startswith(("file:", "data:"))] == []
    assert tab.run("[...document.images].map(image => image.naturalWidth > 100)") == [True] * 3
    titles = ["Effective receptive field", "Attention", "Visual tokens"]
    assert tab.run("[...document.querySelectorAll('h2')].map(head => head.textContent)") == titles
    assert tab.run("document.querySelectorAll('figcaption')[1].textContent") == "<b>street"
    assert tab.run("[...document.querySelectorAll('tbody tr')].map(row => row.cells[0].textContent)") == OUTPUTS


def test_without_images_fields_are_those_of_noise_and_that_is_said(run, tmp_path, capsys):
    assert analyze(run, "-o", tmp_path, "--size", 32, 64) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'analysis.html'}\n"
    found = facts(tmp_path)
    assert found["receptive_field"]["size"] == [32, 64]
    assert found["receptive_field"]["averaged_over"] == "8 images of random noise"
    assert found["attention"]["sentences"] == ["Attention is drawn over images, and none was given."]


def test_a_scan_is_told_in_mm_and_seen_in_three_planes(tmp_path):
    options = dict(spatial_dims=3, in_channels=1, spacing=(3.0, 1.0, 1.0), modality=("MR",))
    run = save_checkpoint(tmp_path / "run" / "weights.safetensors", decoder="all_mlp", **options)
    values = np.random.default_rng(0).normal(size=(40, 34, 33)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 1, 3, 1])), tmp_path / "scan.nii.gz")
    assert analyze(run, tmp_path / "scan.nii.gz", "-o", tmp_path / "out") == 0
    found = facts(tmp_path / "out")["receptive_field"]
    assert found["size"] == [32, 32, 32]
    assert found["spacing"] == [3.0, 1.0, 1.0]
    page = (tmp_path / "out" / "analysis.html").read_text()
    assert re.search(r"<button>50%, mm</button>", page)
    with Image.open(tmp_path / "out" / "receptive_field.png") as picture:
        assert picture.height > 0.4 * picture.width  # three rows for six columns
    assert (tmp_path / "out" / "attention_00.png").is_file()


def test_a_picture_of_one_pixel_is_seen_without_a_warning(run, tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "one.png")
    (seen,) = read_images(densevit.Predictor(run), [tmp_path / "one.png"])
    assert seen.image.shape == (3, 1, 1)


def test_a_network_of_slices_sees_the_middle_one(tmp_path):
    options = dict(in_channels=1, spacing=(3.0, 1.0, 2.0), modality=("MR",), slices=SliceOptions())
    run = save_checkpoint(tmp_path / "run" / "weights.safetensors", decoder="all_mlp", **options)
    values = np.random.default_rng(0).normal(size=(70, 64, 5)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2, 1, 3, 1])), tmp_path / "scan.nii.gz")
    assert analyze(run, tmp_path / "scan.nii.gz", "-o", tmp_path / "out", "--query", 60, 3) == 0
    found = facts(tmp_path / "out")["receptive_field"]
    assert (found["size"], found["spacing"]) == ([64, 64], [1.0, 2.0])


def test_visual_tokens_of_a_backbone_are_drawn_of_each_block(tmp_path, photo_file):
    options = dict(dim=8, depths=(1, 1, 1, 2), num_tokens=4, token_dim=16, groups=4)
    run = save_checkpoint(tmp_path / "run" / "weights.safetensors", "vt_resnet18", "all_mlp", options=options)
    assert analyze(run, photo_file, "-o", tmp_path / "out", "--size", 32) == 0
    found = facts(tmp_path / "out")
    assert found["visual_tokens"]["pictures"] == [dict(image="<b>street", picture="tokens_00.png")]
    assert "among visual tokens (VT-ResNet)" in found["attention"]["sentences"][0]
    with Image.open(tmp_path / "out" / "tokens_00.png") as picture:
        assert np.asarray(picture.convert("RGB")).std() > 10


def test_a_backbone_without_attention_is_said_and_the_rest_goes_on(tmp_path, photo_file):
    options = dict(dim=8, depths=(1, 1, 1, 1))
    run = save_checkpoint(tmp_path / "run" / "weights.safetensors", "resnet18", "all_mlp", options=options)
    assert analyze(run, photo_file, "-o", tmp_path / "out") == 0
    found = facts(tmp_path / "out")
    assert found["attention"]["sentences"] == [
        "The backbone has no attention, or none that can be recorded; there are no maps of it."
    ]
    assert len(found["receptive_field"]["outputs"]) == 6  # four stages, the decoder, the logits


def test_confusion_is_counted_on_the_images_of_a_config(run, photo_file, config, tmp_path):  # noqa: F811
    own = "decoder='vt_fpn', backbone_options=dict(dims=(8, 16, 40, 64)),"
    config.write_text(config.read_text().replace('decoder="all_mlp",', own))
    assert analyze(run, photo_file, "-o", tmp_path / "out", "--size", 32, "--confusion", config) == 0
    found = facts(tmp_path / "out")["confusion"]
    assert found["classes"] == ["sky", "road", "car"]
    labels = np.stack([np.asarray(Image.open(path)) for path in (config.parent / "data" / "labels").glob("*.png")])
    assert [sum(row) for row in found["counts"]] == [int((labels == i).sum()) for i in range(3)]
    assert {each["case"] for each in found["examples"]} <= {"0.png", "1.png"}
    assert (tmp_path / "out" / "examples.png").is_file()
    assert "most confused pairs" in (tmp_path / "out" / "analysis.html").read_text()


@pytest.fixture
def evaluation(tmp_path):
    """Two label maps and their predictions, scored."""
    label = np.zeros((8, 10), np.uint8)
    label[:, 5:] = 1
    for folder, wrong in (("truth", 0), ("predicted", 1)):
        (tmp_path / folder).mkdir()
        for i in range(2):
            drawn = label.copy()
            drawn[: 4 * i * wrong, 5:] = 2
            Image.fromarray(drawn).save(tmp_path / folder / f"case{i}.png")
    (tmp_path / "truth" / "classes.json").write_text(json.dumps({"sky": 0, "road": 1, "car": 2}))
    path = tmp_path / "evaluation.json"
    assert main(["evaluate", str(tmp_path / "predicted"), str(tmp_path / "truth"), "--json", str(path), "--quiet"]) == 0
    return path


def test_confusion_is_read_from_an_evaluation(run, photo_file, evaluation, tmp_path):
    written = json.loads(evaluation.read_text())["confusion"]
    assert written["classes"] == ["sky", "road", "car"]
    assert written["counts"] == [[80, 0, 0], [0, 60, 20], [0, 0, 0]]
    assert dict(true=1, predicted=2, case="case1") in written["examples"]
    assert analyze(run, photo_file, "-o", tmp_path / "out", "--size", 32, "--confusion", evaluation) == 0
    assert facts(tmp_path / "out")["confusion"] == written
    page = (tmp_path / "out" / "analysis.html").read_text()
    assert re.search(r"<td>road</td>\s*<td class=\"word\">car</td>\s*<td[^>]*>20</td>\s*<td[^>]*>25(\.0)?", page)


def test_runs_are_compared_by_score_and_speed_measured_here(run, tmp_path):
    other = save_checkpoint(tmp_path / "wide" / "weights.safetensors", options=dict(dims=(16, 32, 80, 128)), score=50.0)
    assert analyze(run, other, "-o", tmp_path / "out", "--speed", "--size", 64) == 0
    with open(tmp_path / "out" / "speed.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["name"], line["metric"], float(line["score"])) for line in lines] == [
        ("narrow", "mIoU", 40.0),
        ("wide", "mIoU", 50.0),
    ]
    assert all(0 < float(line["seconds"]) < 60 and line["size"] == "64 x 64" for line in lines)
    assert int(lines[0]["parameters"]) < int(lines[1]["parameters"])
    assert int(lines[0]["macs"]) < int(lines[1]["macs"])
    assert facts(tmp_path / "out")["runs"][1]["low"] is None
    assert (tmp_path / "out" / "speed.png").is_file()


def test_scores_of_an_evaluation_have_its_intervals_in_percent(evaluation):
    metric, score, low, high = read_score(evaluation)
    assert metric == "dice"
    assert 1 < low < score < high <= 100
    assert read_score(evaluation, "iou")[1] < score
    with pytest.raises(ValueError, match=r"evaluation.json has no metric named 'iuo'; did you mean iou"):
        read_score(evaluation, "iuo")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--query", "5", "5"], "the query is a place in images, and none was given"),
        (["PHOTO", "--query", "5"], "the query is one number for each axis of images"),
        (["PHOTO", "--query", "5", "200"], "the query 5 200 lies outside of images of 72 x 100"),
        (["--size", "0"], "the size is one number of at least 1, or one for each of 2 axes, got 0"),
        (
            ["--size", "32", "32", "32"],
            "the size is one number of at least 1, or one for each of 2 axes, got 32 x 32 x 32",
        ),
        (["--metric", "mIoU"], "--evaluation and --metric are of --speed; give that too"),
        (["--speed", "--query", "1", "1"], "--speed compares runs"),
        (["--speed", "--evaluation", "a.json", "b.json"], "there is one evaluation a run, got 2 for 1 runs"),
        (["--speed", "--metric", "mIoUs"], "narrow has no score named 'mIoUs'; did you mean mIoU"),
        (["--confusion", "CHECKPOINT/analysis.json"], "no such file"),
        (["--confusion"], "no config.py beside"),
        (["nowhere.png"], "no such file or folder: nowhere.png"),
    ],
)
def test_wrong_words_are_answered_in_one_sentence(words, message, run, photo_file, tmp_path, capsys):
    named = [str(photo_file) if word == "PHOTO" else word.replace("CHECKPOINT", str(run)) for word in words]
    assert analyze(run, *named, "-o", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_json_without_confusion_is_no_evaluation(run, tmp_path, capsys):
    (tmp_path / "other.json").write_text("{}")
    assert analyze(run, "-o", tmp_path / "out", "--size", 32, "--confusion", tmp_path / "other.json") == 2
    assert "other.json holds no confusion; write it with densevit evaluate --json" in capsys.readouterr().err


def test_the_script_is_the_command():
    said = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("usage: densevit analyze")
