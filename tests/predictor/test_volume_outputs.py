"""Files of predicted scans: what they say, and what is left when something goes wrong."""

import csv
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import warnings

import nibabel
import numpy as np
import pytest
from PIL import Image

from densevit.cli import main
from densevit.files import replacing
from densevit.labels import structure_colors
from densevit.predictor import Predictor, predict
from densevit.predictor.structures import Cleaning
from densevit.report.preview import save_preview
from densevit.volumes.formats.dicom_seg_reading import read_dicom_seg
from densevit.volumes.volume import open_volume
from densevit.weights import read_weights, save_weights
from tests.checkpoints import save_tiny_checkpoint
from tests.conftest import REPOSITORY
from tests.predictor.scans import save_checkpoint, save_scan
from tests.volumes.dicom_files import save, series

KILLED = """
    import sys, time
    from pathlib import Path
    import nibabel
    from densevit.predictor import Predictor, predict

    whole = nibabel.save
    def half(image, path):
        whole(image, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        print("half", flush=True)
        time.sleep(60)
    saved = []
    def save(image, path):
        saved.append(path)
        (half if len(saved) == 2 else whole)(image, path)
    nibabel.save = save
    predict(Predictor(sys.argv[1]), sys.argv[2], sys.argv[3], progress=False)
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("run") / "weights.safetensors")


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return Predictor(checkpoint)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def mask_of(path):
    return np.asarray(nibabel.load(path).dataobj)


def test_statistics_say_where_time_went_and_what_labels_mean(predictor, tmp_path):
    scan = save_scan(tmp_path / "in" / "scan.nii.gz")
    predict(predictor, scan, tmp_path / "out", progress=False)
    said = json.loads((tmp_path / "out" / "scan.json").read_text())
    assert said["labels"] == {"0": "background", "2": "liver", "7": "tumour"}
    assert list(said["seconds"]) == ["load", "prepare", "network", "restore", "clean", "write"]
    assert said["seconds"]["network"] > 0
    assert said["scan"] == str(scan)
    values = nibabel.load(scan).get_fdata()[mask_of(tmp_path / "out" / "scan.nii.gz") == 2]
    assert said["structures"]["liver"]["mean"] == [pytest.approx(values.mean(), rel=1e-4)]


def test_viewers_are_told_names_and_colours_of_labels(predictor, tmp_path):
    predict(predictor, save_scan(tmp_path / "in" / "scan.nii.gz"), tmp_path / "out", progress=False)
    lines = (tmp_path / "out" / "labels.ctbl").read_text().splitlines()
    assert lines[0].startswith("# Color table file")
    r, g, b = structure_colors(3)[2]
    assert [line.split() for line in lines[2:]][2] == ["7", "tumour", str(r), str(g), str(b), "255"]
    snap = (tmp_path / "out" / "labels.txt").read_text().splitlines()
    assert snap[0] == '0 0 0 0 0 0 0 "background"'
    assert snap[2] == f'7 {r} {g} {b} 1 1 1 "tumour"'


def test_many_scans_give_the_masks_of_each_alone(predictor, tmp_path):
    """Reading, predicting and writing of different scans go on at once, and nothing gets mixed up."""
    scans = [save_scan(tmp_path / "in" / f"{i}.nii.gz", seed=i, size=(20 + i, 22, 26 - i)) for i in range(5)]
    report = predict(predictor, tmp_path / "in", tmp_path / "out", progress=False)
    assert list(report.written) == scans
    for scan, (mask,) in report.written.items():
        volume = open_volume(scan)
        assert np.array_equal(mask_of(mask), volume.on_own_axes(predictor.label(volume)))


def test_channels_in_two_files_are_predicted_as_in_one(tmp_path):
    predictor = Predictor(save_checkpoint(tmp_path / "weights.safetensors", in_channels=2))
    parts = [save_scan(tmp_path / "two" / f"case_000{i}.nii.gz", seed=i) for i in range(2)]
    both = np.stack([np.asarray(nibabel.load(part).dataobj) for part in parts], -1)
    (tmp_path / "one").mkdir()
    nibabel.save(nibabel.Nifti1Image(both, nibabel.load(parts[0]).affine), tmp_path / "one" / "case.nii.gz")
    for name in ("one", "two"):
        predict(predictor, tmp_path / name, tmp_path / f"out_{name}", progress=False)
    assert np.array_equal(mask_of(tmp_path / "out_one" / "case.nii.gz"), mask_of(tmp_path / "out_two" / "case.nii.gz"))


def test_masks_are_made_tidy_on_request(checkpoint, predictor, tmp_path):
    scan = save_scan(tmp_path / "scan.nii.gz")
    clean = Cleaning(largest_component=["liver"], fill_holes=[])
    expected = predictor.label(scan)
    clean(expected, classes=predictor.header.classes, values=predictor.header.values)
    assert not np.array_equal(expected, predictor.label(scan))
    assert np.array_equal(Predictor(checkpoint, clean=clean).label(scan), expected)
    command = ["predict", str(checkpoint), str(scan), "-o", str(tmp_path / "out"), "--quiet"]
    assert main([*command, "--largest-component", "liver", "--fill-holes"]) == 0
    assert np.array_equal(mask_of(tmp_path / "out" / "scan.nii.gz"), open_volume(scan).on_own_axes(expected))


def test_a_dicom_series_gets_a_dicom_seg_that_says_what_its_mask_says(predictor, tmp_path, caplog):
    save(tmp_path / "in" / "ct", series(14))
    save_scan(tmp_path / "in" / "other.nii.gz")
    with caplog.at_level(logging.WARNING, "densevit"):
        report = predict(predictor, tmp_path / "in", tmp_path / "out", progress=False, dicom_seg=True)
    assert not report.failed
    assert "other.nii.gz is no DICOM series, so that no DICOM-SEG is written for it" in caplog.text
    volume = open_volume(tmp_path / "in" / "ct")
    segments = volume.on_own_axes(read_dicom_seg(tmp_path / "out" / "ct.dcm", like=volume))
    assert np.array_equal(np.array([0, 2, 7])[segments], mask_of(tmp_path / "out" / "ct.nii.gz"))
    again = predict(predictor, tmp_path / "in", tmp_path / "out", progress=False, dicom_seg=True, resume=True)
    assert len(again.resumed) == 2


def test_a_series_to_which_no_dicom_seg_can_refer_gets_all_else_and_is_reported(predictor, tmp_path):
    slices = series(14)
    for each in slices:
        del each.FrameOfReferenceUID
    save(tmp_path / "in" / "ct", slices)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "ct.dcm").write_text("of an earlier run")
    options = dict(progress=False, dicom_seg=True, preview=save_preview)
    for resume in (False, True):
        report = predict(predictor, tmp_path / "in", tmp_path / "out", **options, resume=resume)
        assert "has no FrameOfReferenceUID, to which a DICOM-SEG must refer" in report.failed[tmp_path / "in" / "ct"]
        assert names_in(tmp_path / "out") == [
            "ct.json", "ct.nii.gz", "ct.png", "labels.ctbl", "labels.txt", "volumes.csv"
        ]  # fmt: skip


def test_several_series_at_once_leave_no_warning(predictor, tmp_path):
    for name in "abc":
        slices = series(14)
        for each in slices:
            each.PatientName = "one part only"  # of which highdicom warns, in the thread that writes
        save(tmp_path / "in" / name, slices)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = predict(predictor, tmp_path / "in", tmp_path / "out", progress=False, dicom_seg=True)
    assert (len(report.written), report.failed) == (3, {})


def test_resuming_makes_what_was_not_asked_for_before(predictor, tmp_path):
    save_scan(tmp_path / "in" / "scan.nii.gz")
    predict(predictor, tmp_path / "in", tmp_path / "out", progress=False)
    options = dict(progress=False, resume=True, preview=save_preview)
    assert len(predict(predictor, tmp_path / "in", tmp_path / "out", **options).written) == 1
    with Image.open(tmp_path / "out" / "scan.png") as picture:
        assert picture.format == "PNG"
    assert len(predict(predictor, tmp_path / "in", tmp_path / "out", **options).resumed) == 1


def test_a_scan_whose_files_cannot_be_written_is_reported_and_counts_as_not_done(predictor, tmp_path, monkeypatch):
    for i in range(3):
        save_scan(tmp_path / "in" / f"{i}.nii.gz", seed=i)
    whole = nibabel.save

    def full(image, path):
        whole(image, path)
        if path.name.endswith(".1.nii.gz"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(nibabel, "save", full)
    report = predict(predictor, tmp_path / "in", tmp_path / "out", progress=False)
    assert [path.name for path in report.written] == ["0.nii.gz", "2.nii.gz"]
    reason = report.failed[tmp_path / "in" / "1.nii.gz"]
    assert reason == f"{tmp_path}/in/1.nii.gz: no space left on device: {tmp_path}/out/1.nii.gz"
    assert names_in(tmp_path / "out") == [
        "0.json", "0.nii.gz", "2.json", "2.nii.gz", "labels.ctbl", "labels.txt", "volumes.csv"
    ]  # fmt: skip


def test_predicting_anew_leaves_no_old_statistics_beside_a_new_mask(predictor, tmp_path):
    save_scan(tmp_path / "in" / "scan.nii.gz")
    predict(predictor, tmp_path / "in", tmp_path / "out", progress=False)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    predict(predictor, tmp_path / "in", tmp_path / "out", progress=False, preview=fail)
    assert not (tmp_path / "out" / "scan.json").exists()


def test_a_killed_run_leaves_no_half_mask_and_is_resumed(checkpoint, predictor, tmp_path):
    for i in range(3):
        save_scan(tmp_path / "in" / f"{i}.nii.gz", seed=i)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(checkpoint)]
    paths = [str(tmp_path / name) for name in ("in", "out")]
    run = subprocess.Popen([*command, *paths], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    try:
        assert run.stdout.readline() == "half\n"
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
    left = [name for name in names_in(tmp_path / "out") if not name.startswith(".")]
    assert left == ["0.json", "0.nii.gz"]
    report = predict(predictor, tmp_path / "in", tmp_path / "out", progress=False, resume=True)
    assert [path.name for path in report.resumed] == ["0.nii.gz"]
    assert [path.name for path in report.written] == ["1.nii.gz", "2.nii.gz"]
    for scan in (tmp_path / "in").iterdir():
        assert np.array_equal(
            mask_of(tmp_path / "out" / scan.name), open_volume(scan).on_own_axes(predictor.label(scan))
        )


def test_what_another_process_is_writing_is_not_taken_for_a_result(predictor, tmp_path):
    save_scan(tmp_path / "in" / "scan.nii.gz")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.json").write_text("not JSON")
    for name, text in (("cut", "{"), ("list", "[]"), ("sidecar", '{"structures": 3}')):
        (tmp_path / "out" / f"{name}.json").write_text(text)
        (tmp_path / "out" / f"{name}.nii.gz").touch()
    with replacing(tmp_path / "out" / "other.json") as aside:
        aside.write_text("{")
        report = predict(predictor, tmp_path / "in", tmp_path / "out", progress=False)
        aside.write_text("{}")
    assert len(report.written) == 1
    cases = {line.split(",")[0] for line in (tmp_path / "out" / "volumes.csv").read_text().splitlines()}
    assert cases == {"case", "scan"}


def test_an_output_that_takes_no_files_is_told_before_the_model_is_built(tmp_path, capsys):
    scan = save_scan(tmp_path / "scan.nii.gz")
    (tmp_path / "out").write_text("a file")
    weights, header = read_weights(save_checkpoint(tmp_path / "whole.safetensors"))
    checkpoint = tmp_path / "weights.safetensors"
    save_weights({"head.bias": weights["head.bias"]}, checkpoint, config=header)  # of which no model can be built
    assert main(["predict", str(checkpoint), str(scan), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"densevit: the output folder {tmp_path / 'out'} is a file; give a folder\n"


def test_options_of_scans_are_refused_for_pictures(tmp_path, capsys):
    checkpoint = save_tiny_checkpoint(tmp_path / "weights.safetensors")
    assert main(["predict", str(checkpoint), "a.png", "-o", str(tmp_path / "out"), "--preview"]) == 2
    assert "--preview is for scans, and this is a checkpoint of pictures" in capsys.readouterr().err


@pytest.mark.real
def test_dicom_and_nifti_of_one_scan_give_the_same_mask(shared_data, tmp_path):
    spacing = [6.0, 5.0, 5.0]
    inference = dict(mode="slide_gaussian", roi_size=[32, 64, 64], stride=[16, 48, 48])
    predictor = Predictor(
        save_checkpoint(
            tmp_path / "weights.safetensors",
            normalization=dict(type="window", low=-175, high=250),
            spacing=spacing,
            inference=inference,
        )
    )
    folder = shared_data / "sts_dicom_rt" / "STS_002" / "CT"
    (nifti,) = [path for path in sorted((folder / "nifti").rglob("*.nii.gz")) if "image" in path.name]
    for name, source in (("dicom", folder / "dicom" / "image"), ("nifti", nifti)):
        report = predict(predictor, source, tmp_path / name, progress=False)
        assert not report.failed
    one, other = (
        nibabel.as_closest_canonical(nibabel.load(*(tmp_path / name).glob("*.nii.gz"))) for name in ("dicom", "nifti")
    )
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-3)
    assert len(np.unique(np.asarray(one.dataobj))) == 3
    assert np.array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))


def test_a_folder_a_case_is_predicted_as_it_was_trained_on_from_the_folder_of_the_run(tmp_path, capsys):
    best = tmp_path / "run" / "best" / "weights.safetensors"
    best.parent.mkdir(parents=True)
    save_checkpoint(best, in_channels=2, images=["t1.nii.gz", "t2.nii.gz"])
    for seed, case in enumerate(("p1", "p2", "site/p3")):
        for channel, name in enumerate(("t1", "t2", "seg")):
            save_scan(tmp_path / "data" / case / f"{name}.nii.gz", seed=2 * seed + channel)
    out = tmp_path / "data" / "out"
    command = ["predict", str(tmp_path / "run"), str(tmp_path / "data"), "-o", str(out), "--recursive", "--quiet"]
    for _ in range(2):
        assert main(command) == 0
        assert capsys.readouterr().err.count("3 files in") == 1
    cases = ["p1", "p2", "site/p3"]
    rows = list(csv.DictReader((out / "volumes.csv").read_text().splitlines()))
    assert [row["case"] for row in rows[::3]] == cases
    predictor = Predictor(tmp_path / "run")
    for case in cases:
        files = [tmp_path / "data" / case / f"{name}.nii.gz" for name in ("t1", "t2")]
        assert np.array_equal(mask_of(out / f"{case}.nii.gz"), open_volume(files).on_own_axes(predictor.label(files)))
    assert main([*command, "--resume"]) == 0
    assert "0 predicted, 3 done before" in capsys.readouterr().out


def test_names_of_channels_are_given_where_the_checkpoint_knows_none(tmp_path):
    checkpoint = save_checkpoint(tmp_path / "weights.safetensors", in_channels=2)
    for name in ("a", "b"):
        save_scan(tmp_path / "data" / "p1" / f"{name}.nii.gz")
    command = ["predict", str(checkpoint), str(tmp_path / "data"), "-o", str(tmp_path / "out"), "--quiet"]
    assert main(command) == 2
    assert main([*command, "--images", "a.nii.gz", "b.nii.gz"]) == 0
    assert (tmp_path / "out" / "p1.nii.gz").is_file()


def test_scans_of_one_name_in_two_folders_give_two_masks(checkpoint, tmp_path, capsys):
    folders = [save_scan(tmp_path / "study" / case / "ct.nii.gz", seed=i).parent for i, case in enumerate(("p1", "p2"))]
    command = ["predict", str(checkpoint), *map(str, folders), "-o", str(tmp_path / "out"), "--quiet"]
    for said in ("2 predicted, results", "0 predicted, 2 done before"):
        assert main([*command, "--resume"]) == 0
        assert said in capsys.readouterr().out
    for case in ("p1", "p2"):
        assert (tmp_path / "out" / case / "ct.nii.gz").is_file()
    rows = csv.DictReader((tmp_path / "out" / "volumes.csv").read_text().splitlines())
    assert {row["case"] for row in rows} == {"p1/ct", "p2/ct"}
