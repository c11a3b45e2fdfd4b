"""`densevit evaluate`: label files against others, from the command line."""

import csv
import json

import nibabel
import numpy as np
import pytest
from PIL import Image

from densevit.cli import main

LABELS = {"labels": {"background": 0, "liver": 1, "tumour": 2, "either": [1, 2]}}


def body(shift=0):
    label = np.zeros((16, 14, 12), np.uint8)
    label[3:9, 3:9, 3:9] = 1
    label[10:13, 4:8, 4:8] = 2
    return np.roll(label, shift, 1)


def store(folder, name, label, spacing=(1, 1, 2.5)):
    folder.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(label, np.diag([*spacing, 1])), folder / name)


@pytest.fixture
def scans(tmp_path):
    for i in range(4):
        store(tmp_path / "truth", f"case_{i}.nii.gz", body())
        store(tmp_path / "good", f"case_{i}.nii.gz", body())
        store(tmp_path / "shifted", f"case_{i}.nii.gz", body(1))
    (tmp_path / "truth" / "dataset.json").write_text(json.dumps(LABELS))
    return tmp_path


def evaluate(folder, *words, model="good"):
    """Exit code, and what was written as JSON."""
    out = folder / "out.json"
    named = [] if "--manifest" in words else [str(folder / model), str(folder / "truth")]
    code = main(["evaluate", *named, "--json", str(out), "--workers", "0", "--quiet", *map(str, words)])
    return code, json.loads(out.read_text()) if out.is_file() else None


def mean(found, metric="dice", structure=None, level="case"):
    (row,) = [r for r in found["means"] if (r["metric"], r["structure"], r["level"]) == (metric, structure, level)]
    return row


def test_equal_folders_have_the_best_scores(scans, capsys):
    code, found = evaluate(scans)
    assert code == 0
    assert mean(found)["mean"] == 1
    assert mean(found, "hd95_max")["mean"] == 0
    assert mean(found, "dice", "liver")["n"] == 4
    assert (found["schema"], found["version"]) == ("densevit.evaluation", 1)
    assert "policy honest" in capsys.readouterr().out


def test_distances_are_in_mm(scans):
    for i in range(4):
        store(scans / "shifted", f"case_{i}.nii.gz", np.roll(body(), 1, 2))  # along 2.5 mm
    _, found = evaluate(scans, model="shifted")
    assert mean(found, "hd95_max", "liver")["mean"] == pytest.approx(2.5)


def test_a_missing_prediction_is_a_case_in_which_all_was_missed(scans, capsys):
    (scans / "good" / "case_1.nii.gz").unlink()
    code, found = evaluate(scans)
    assert code == 0
    assert mean(found, "dice", "liver")["mean"] == pytest.approx(0.75)
    assert mean(found, "dice", "liver")["missed"] == 1
    assert found["missing"] == ["case_1"]
    assert "1 predictions are missing and counted as missed: case_1" in capsys.readouterr().out
    _, found = evaluate(scans, "--missing", "skip")
    assert mean(found, "dice", "liver")["mean"] == 1


def test_in_a_missing_picture_not_even_the_class_of_value_0_is_found(tmp_path):
    for name in ("truth", "good"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "good" / "1.png").unlink()
    _, found = evaluate(tmp_path)
    assert mean(found, "dice", "0")["mean"] == mean(found, "dice", "1")["mean"] == 0.5
    assert mean(found, "dice", "0")["missed"] == 1


def test_predictions_without_a_label_are_listed(scans, capsys):
    store(scans / "good", "other.nii.gz", body())
    _, found = evaluate(scans)
    assert found["unmatched"] == [str(scans / "good" / "other.nii.gz")]
    assert "have no label" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["grid", "size", "values", "floats", "nan", "broken"])
def test_a_prediction_that_cannot_be_used_betters_no_mean(scans, damage, capsys):
    path = "case_2.nii.gz"
    made = {
        "grid": lambda: store(scans / "good", path, body(), (1, 1, 3)),
        "size": lambda: store(scans / "good", path, body()[:-1]),
        "values": lambda: store(scans / "good", path, body() * 100),
        "floats": lambda: store(scans / "good", path, body() * np.float32(0.3)),
        "nan": lambda: store(scans / "good", path, np.where(body() == 2, np.nan, body()).astype(np.float32)),
        "broken": lambda: (scans / "good" / path).write_bytes(b"no scan"),
    }
    made[damage]()
    code, found = evaluate(scans)
    assert code == 1
    assert list(found["failed"]) == ["case_2"]
    assert mean(found, "dice", "liver")["mean"] == pytest.approx(0.75)
    assert "could not be used and counted as missed" in capsys.readouterr().out


def test_how_far_off_another_grid_lies_is_said(scans):
    store(scans / "good", "case_2.nii.gz", body(), (1, 1, 3))
    _, found = evaluate(scans)
    assert "5.5 mm away from its label" in found["failed"]["case_2"]


def test_a_label_that_cannot_be_read_leaves_its_case_unscored(scans):
    (scans / "truth" / "case_0.nii.gz").write_bytes(b"no scan")
    code, found = evaluate(scans)
    assert code == 1
    assert list(found["unscored"]) == ["case_0"]
    assert mean(found, "dice", "liver")["n"] == 3


def test_a_region_is_scored_as_one_structure(scans):
    swapped = np.array([0, 2, 1], np.uint8)[body()]
    for i in range(4):
        store(scans / "good", f"case_{i}.nii.gz", swapped)
    _, found = evaluate(scans)
    assert mean(found, "dice", "liver")["mean"] == 0
    assert mean(found, "dice", "either")["mean"] == 1


def test_patients_are_resampled_whole_and_strata_are_scored_apart(scans):
    (scans / "table.csv").write_text(
        "case,patient,site\n" + "".join(f"case_{i},{i // 2},{'xy'[i % 2]}\n" for i in range(4))
    )
    (scans / "good" / "case_1.nii.gz").unlink()
    _, found = evaluate(scans, "--table", scans / "table.csv", "--group", "patient", "--strata", "site")
    assert mean(found)["interval"]["groups"] == 2
    assert found["strata"]["site"]["x"]["mean"] == 1
    assert found["strata"]["site"]["y"]["mean"] == pytest.approx(0.5)


def test_models_are_compared_on_the_same_cases(scans, capsys):
    code, found = evaluate(scans, "--against", scans / "shifted")
    assert code == 0
    (pair,) = found["comparisons"]
    assert pair["difference"]["mean"] > 0.1
    assert list(found["ranking"]["ranks"].values()) == [1, 2]
    assert "models by dice" in capsys.readouterr().out


def test_a_damaged_file_of_another_model_ends_with_1_as_one_of_the_model_does(scans, capsys):
    (scans / "shifted" / "case_2.nii.gz").write_bytes(b"no scan")
    code, found = evaluate(scans, "--against", scans / "shifted")
    assert code == 1
    assert found["failed"] == {}
    assert list(found["against"][str(scans / "shifted")]["failed"]) == ["case_2"]
    assert f"{scans / 'shifted'}: 1 predictions could not be used and counted as missed" in capsys.readouterr().out


@pytest.mark.parametrize("others", [["good"], ["shifted", "shifted"], ["./shifted", "shifted"]])
def test_a_model_is_not_compared_with_itself(scans, others, capsys):
    flags = [word for other in others for word in ("--against", f"{scans}/{other}")]
    assert evaluate(scans, *flags)[0] == 2
    assert "other predictions than PRED, each once" in capsys.readouterr().err


def test_a_manifest_holds_one_model_and_is_compared_with_none(scans, capsys):
    (scans / "pairs.csv").write_text("prediction,truth\ngood/case_0.nii.gz,truth/case_0.nii.gz\n")
    assert evaluate(scans, "--manifest", scans / "pairs.csv", "--against", scans / "shifted")[0] == 2
    assert "not --manifest" in capsys.readouterr().err


def test_another_model_that_is_not_there_is_refused_before_anything_is_measured(scans, capsys):
    assert main(["evaluate", str(scans / "good"), str(scans / "truth"), "--against", str(scans / "nowhere")]) == 2
    assert "nowhere" in (said := capsys.readouterr()).err
    assert "mean over cases" not in said.out


def test_an_infinite_distance_of_monais_policy_is_a_mean_without_an_interval(scans):
    (scans / "good" / "case_1.nii.gz").unlink()
    code, found = evaluate(scans, "--policy", "monai", "--metrics", "assd")
    assert code == 0
    assert mean(found, "assd", "liver")["mean"] is None  # JSON knows no infinity
    assert mean(found, "assd", "liver")["interval"]["low"] is None
    assert mean(found, "dice")["interval"]["low"] < mean(found, "dice")["mean"] == pytest.approx(0.75)


def test_a_requirement_that_is_not_met_ends_with_1_and_a_line(scans, capsys):
    assert evaluate(scans, "--require", "liver.dice>=0.9", "mIoU>=75")[0] == 0
    code, _ = evaluate(scans, "--require", "liver.dice>=0.9", "mIoU>=75", model="shifted")
    assert code == 1
    assert "required liver.dice>=0.9, got 0.83" in capsys.readouterr().out


def test_every_case_and_structure_is_a_line_of_the_csv(scans):
    (scans / "good" / "case_3.nii.gz").unlink()
    evaluate(scans, "--csv", scans / "out.csv")
    lines = list(csv.DictReader((scans / "out.csv").read_text().splitlines()))
    assert len(lines) == 12
    assert "values" not in lines[0]
    assert [float(line["volume_difference"]) for line in lines[2::3]] == [0, 0, 0, -1]
    assert lines[0]["case"] == "case_0"
    assert float(lines[0]["true_volume"]) == 216 * 2.5


def test_nnunets_summary_has_its_keys(scans):
    (scans / "good" / "case_3.nii.gz").unlink()
    evaluate(scans, "--missing", "skip", "--nnunet", scans / "summary.json")
    found = json.loads((scans / "summary.json").read_text())
    assert found["mean"]["1"]["n_ref"] == 216
    assert set(found["mean"]) == {"1", "2", "(1, 2)"}
    assert found["foreground_mean"]["Dice"] == 1
    assert len(found["metric_per_case"]) == 3
    evaluate(scans, "--missing", "skip", "--with-background", "--nnunet", scans / "summary.json", model="shifted")
    found = json.loads((scans / "summary.json").read_text())
    foreground = [found["mean"][key]["Dice"] for key in ("1", "2", "(1, 2)")]
    assert found["foreground_mean"]["Dice"] == pytest.approx(sum(foreground) / 3)
    assert "0" in found["mean"]


def test_a_dicom_seg_is_scored_by_the_names_of_its_segments(tmp_path):
    from densevit.volumes.formats.dicom_seg import write_dicom_seg
    from densevit.volumes.volume import open_volume
    from tests.volumes.dicom_files import save, series

    save(tmp_path / "series", series())
    volume = open_volume(tmp_path / "series")
    label = np.zeros(volume.grid.size, np.uint8)
    label[1:3, 1:4, 1:4], label[3:5, 1:4, 1:4] = 2, 7
    for folder in ("truth", "good"):
        (tmp_path / folder).mkdir()
    volume.write_label(label, tmp_path / "truth" / "scan.nii.gz")
    names = dict(classes=["background", "liver", "tumour"], values=[0, 2, 7])
    write_dicom_seg(label, volume, tmp_path / "good" / "scan.dcm", **names)
    (tmp_path / "truth" / "dataset.json").write_text(json.dumps({"labels": {"liver": 2, "tumour": 7}}))
    code, found = evaluate(tmp_path)
    assert code == 0
    assert mean(found)["mean"] == 1
    (tmp_path / "truth" / "dataset.json").write_text(json.dumps({"labels": {"lever": 2, "tumour": 7}}))
    code, found = evaluate(tmp_path)
    assert code == 1
    assert "does not name, 'liver'; did you mean lever?" in found["failed"]["scan"]


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("truth", "good"):
        (tmp_path / folder).mkdir()
    for i in range(3):
        label = rng.integers(0, 3, (20, 30), np.uint8)
        predicted = np.where(rng.random((20, 30)) < 0.8, label, 0).astype(np.uint8)
        label[:2] = 255
        Image.fromarray(label).save(tmp_path / "truth" / f"{i}.png")
        Image.fromarray(predicted).save(tmp_path / "good" / f"{i}.png")
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\n")
    return tmp_path


def test_pictures_have_the_scores_of_the_confusion_matrix(pictures, capsys):
    from densevit.metrics import ConfusionMatrix
    from densevit.pictures.reading import read_label

    matrix = ConfusionMatrix(3)
    for i in range(3):
        matrix.update(*(read_label(pictures / folder / f"{i}.png") for folder in ("good", "truth")))
    expected = matrix.compute()
    _, found = evaluate(pictures, "--mmseg", "--metrics")
    assert mean(found, "iou", level="set")["mean"] == pytest.approx(expected.mIoU)
    assert mean(found, "recall", level="set")["mean"] == pytest.approx(expected.mAcc)
    assert found["aAcc"] == pytest.approx(expected.aAcc)
    out = capsys.readouterr().out
    assert f"{100 * expected.mIoU:.2f}" in out.partition("Summary")[2]


def test_values_that_nothing_names_are_called_by_themselves(pictures):
    (pictures / "classes.txt").unlink()
    _, found = evaluate(pictures, "--metrics")
    assert list(found["structures"]) == ["0", "1", "2"]


def test_colours_in_place_of_labels_are_refused(pictures):
    Image.fromarray(np.zeros((20, 30, 3), np.uint8) + np.uint8([1, 2, 3])).save(pictures / "good" / "1.png")
    code, found = evaluate(pictures, "--metrics")
    assert code == 1
    assert "1.png is a colour picture" in found["failed"]["1"]
    assert "save it in class numbers" in found["failed"]["1"]


def test_names_of_cases_are_quoted_where_they_would_be_more_than_text(pictures):
    for folder in ("truth", "good"):
        (pictures / folder / "1.png").rename(pictures / folder / "=1+1.png")
    evaluate(pictures, "--metrics", "--csv", pictures / "out.csv")
    assert "'=1+1,sky" in (pictures / "out.csv").read_text()


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--policy", "kind"], "no policy named 'kind'"),
        (["--metrics", "hd96"], "no metric hd96"),
        (["--group", "patient"], "nothing is known of a column 'patient'"),
        (["--require", "dise>=1"], "no score named 'dise'"),
        (["--classes", "nowhere.json"], "no such file: nowhere.json"),
        (["--compare-by", "dise", "--strata", "site"], "dise"),
    ],
)
def test_a_slip_on_the_command_line_is_one_sentence(scans, words, match, capsys):
    assert evaluate(scans, *words)[0] == 2
    said = capsys.readouterr().err
    assert match in said
    assert "Traceback" not in said


def test_two_processes_measure_what_one_does(scans):
    _, one = evaluate(scans, model="shifted")
    _, two = evaluate(scans, "--workers", "2", model="shifted")
    assert one == two
