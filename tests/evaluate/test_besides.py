"""Scores of what lies beside label maps: numbers of instances, and probabilities."""

import json

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from densevit.cli import main
from densevit.metrics import Calibration
from tests.evaluate.test_command import evaluate, store


def extra(found, metric, structure=None):
    (each,) = [each for each in found["extras"] if (each["metric"], each["structure"]) == (metric, structure)]
    return each


@pytest.fixture
def street(tmp_path):
    """Two pictures: cars of 40, 2 and 8 pixels, of which the one of 2 is missed; a crowd without instances."""
    for name in ("truth", "good"):
        (tmp_path / name).mkdir()
    for i in range(2):
        truth, instances = np.full((12, 20), 7, np.uint8), np.full((12, 20), 7, np.uint16)
        for number, box in enumerate([np.s_[:4, :10], np.s_[6, :2], np.s_[8:10, :4]]):
            truth[box], instances[box] = 26, 26000 + number
        truth[11], instances[11] = 26, 26
        predicted = truth.copy()
        predicted[6, :2] = 7
        predicted[5, 15:20] = 26 if i else 7  # of no instance
        Image.fromarray(truth).save(tmp_path / "truth" / f"a_{i}_gtFine_labelIds.png")
        Image.fromarray(instances).save(tmp_path / "truth" / f"a_{i}_gtFine_instanceIds.png")
        Image.fromarray(predicted).save(tmp_path / "good" / f"a_{i}_leftImg8bit.png")
    return tmp_path


def test_instances_beside_labels_of_cityscapes_are_scored(street, capsys):
    _, found = evaluate(street, "--classes", "cityscapes", "--metrics")
    size = 12794.0202738185  # every instance weighs as one of this size
    first, second = 2 / 3, 2 * size / (3 * size + 5)
    assert extra(found, "iiou", "car")["cases"] == {"a_0": pytest.approx(first), "a_1": pytest.approx(second)}
    assert extra(found, "iiou", "car")["mean"]["mean"] == pytest.approx((first + second) / 2)
    assert extra(found, "iiou", "car")["of_set"] == pytest.approx(4 * size / (6 * size + 5))
    assert extra(found, "iiou", "bus")["of_set"] is None
    assert extra(found, "iiou")["of_set"] == pytest.approx(4 * size / (6 * size + 5))
    assert "of instances and probabilities" in capsys.readouterr().out


def test_a_missing_picture_misses_all_instances_and_categories_have_theirs(street):
    (street / "good" / "a_1_leftImg8bit.png").unlink()
    code, found = evaluate(street, "--classes", "cityscapes_categories", "--metrics", "--require", "set.iiou>=0.9")
    assert code == 1
    assert extra(found, "iiou", "vehicle")["cases"] == {"a_0": pytest.approx(2 / 3), "a_1": 0}
    assert {each["structure"] for each in found["extras"]} == {"human", "vehicle", None}


def test_a_case_whose_instances_cannot_be_read_is_not_scored_and_named(street):
    (street / "truth" / "a_1_gtFine_instanceIds.png").write_text("damaged")
    code, found = evaluate(street, "--classes", "cityscapes", "--metrics")
    assert code == 1
    assert "a_1_gtFine_instanceIds.png" in found["unscored"]["a_1"]
    assert {each["case"] for each in found["cases"]} == {"a_0"}


def test_labels_without_instances_beside_them_have_no_such_score(street):
    for path in (street / "truth").glob("*instanceIds.png"):
        path.unlink()
    assert evaluate(street, "--classes", "cityscapes", "--metrics")[1]["extras"] == []


def soft(label, classes, seed):
    """(C, *S): more or less sure of the label."""
    noise = np.random.default_rng(seed).random((classes, *label.shape))
    sure = noise + 2 * (np.arange(classes).reshape(-1, *[1] * label.ndim) == label)
    return (sure / sure.sum(0)).astype(np.float32)


@pytest.fixture
def scans(tmp_path):
    """Two scans of values 0, 1, 2 whose files run from left to right and from right to left."""
    names = {"labels": {"background": 0, "liver": 1, "tumour": 2}}
    for i in range(2):
        label = np.random.default_rng(i).integers(0, 3, (6, 5, 4)).astype(np.uint8)
        for folder in ("truth", "good"):
            store(tmp_path / folder, f"case_{i}.nii.gz", label, (-1 if i else 1, 1, 2.5))
    (tmp_path / "truth" / "dataset.json").write_text(json.dumps(names))
    return tmp_path


def stored_as(kind, scans, i):
    """Probabilities (C, X, Y, Z) in a file of a kind."""
    image = nibabel.load(scans / "truth" / f"case_{i}.nii.gz")
    label = np.asarray(image.dataobj)
    values, path = soft(label, 3, i), scans / "soft" / f"case_{i}"
    path.parent.mkdir(exist_ok=True)
    by_planes = values.transpose(0, 3, 2, 1)  # (C, Z, Y, X), as nnU-Net writes
    if kind == "nii.gz":
        nibabel.save(nibabel.Nifti1Image(values.transpose(1, 2, 3, 0), image.affine), f"{path}.nii.gz")
    elif kind == "npz":
        np.savez(f"{path}.npz", probabilities=by_planes)
    else:
        np.save(f"{path}.npy", np.moveaxis(by_planes, 0, -1))
    return torch.from_numpy(values), torch.from_numpy(label).long()


@pytest.mark.parametrize("kind", ["nii.gz", "npz", "npy"])
def test_probabilities_of_scans_are_calibrated_in_any_file(scans, kind):
    whole, cases = Calibration(3), {}
    for i in range(2):
        pair = stored_as(kind, scans, i)
        whole.update(*pair)
        one = Calibration(3)
        one.update(*pair)
        cases[f"case_{i}"] = pytest.approx(one.compute().brier)
    code, found = evaluate(scans, "--metrics", "--probabilities", scans / "soft")
    assert code == 0
    assert extra(found, "brier")["of_set"] == pytest.approx(whole.compute().brier)
    assert extra(found, "brier")["cases"] == cases
    assert extra(found, "ece_top")["of_set"] == pytest.approx(whole.compute().ece_top)
    by_class = whole.compute().ece_class.tolist()
    for name, error in zip(("background", "liver", "tumour"), by_class, strict=True):
        assert extra(found, "ece_class", name)["of_set"] == pytest.approx(error)
    assert extra(found, "ece_class")["of_set"] == pytest.approx(np.mean(by_class))


def test_probabilities_of_pictures_count_where_the_label_is_known(tmp_path):
    whole = Calibration(3)
    for folder in ("truth", "good", "soft"):
        (tmp_path / folder).mkdir()
    for i in range(2):
        label = np.random.default_rng(i).integers(0, 3, (9, 7)).astype(np.uint8)
        values = soft(label, 3, i)
        np.save(tmp_path / "soft" / f"{i}.npy", values)
        label[:2] = 255
        for folder in ("truth", "good"):
            Image.fromarray(np.where(label == 255, 0 if folder == "good" else 255, label)).save(
                tmp_path / folder / f"{i}.png"
            )
        whole.update(torch.from_numpy(values), torch.from_numpy(label))
    _, found = evaluate(tmp_path, "--metrics", "--probabilities", tmp_path / "soft", "--require", "set.brier<=2")
    assert extra(found, "brier")["of_set"] == pytest.approx(whole.compute().brier)
    assert extra(found, "ece_class", "2")["of_set"] == pytest.approx(float(whole.compute().ece_class[2]))


def signed():
    """Three numbers a voxel, one below 0, that sum to 1."""
    return np.broadcast_to(np.array([1.5, -1, 0.5], np.float32).reshape(3, 1, 1, 1), (3, 4, 5, 6))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "there are no probabilities"),
        (lambda path: path.write_bytes(b"none"), "cannot be read as arrays of numbers"),
        (lambda path: path.write_bytes(b""), "cannot be read as arrays of numbers"),
        (lambda path: path.write_bytes(path.read_bytes()[:400]), "cannot be read as arrays of numbers"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"\0\0\0\0", b"\1\1\1\1")), "case_1.npz"),
        (lambda path: np.savez(path, probabilities=signed()), "0 or more and sum to 1"),
        (lambda path: np.savez(path, probabilities=np.ones((3, 4, 5, 6), np.float32)), "0 or more and sum to 1"),
        (lambda path: np.savez(path, probabilities=np.ones((3, 4, 5, 7), np.float32)), "expected floating-point"),
        (lambda path: np.savez(path, probabilities=np.ones((5, 4, 5, 6)) / 5), "do not fit"),
        (lambda path: np.savez(path, probabilities=np.full((3, 4, 5, 6), np.nan)), "0 or more and sum to 1"),
        (lambda path: np.savez(path), "no array named 'probabilities'"),
        (lambda path: np.savez(path, a=np.ones(3), b=np.ones(3)), "no array named 'probabilities'"),
    ],
)
def test_a_case_whose_probabilities_are_of_no_use_is_named_and_ends_with_1(scans, spoil, said, capsys):
    for i in range(2):
        stored_as("npz", scans, i)
    spoil(scans / "soft" / "case_1.npz")
    code, found = evaluate(scans, "--metrics", "--probabilities", scans / "soft")
    assert code == 1
    assert said in found["uncalibrated"]["case_1"]
    assert list(extra(found, "brier")["cases"]) == ["case_0"]
    assert "1 cases are in no calibration" in capsys.readouterr().out


def test_a_page_shows_scores_of_instances(street):
    assert evaluate(street, "--classes", "cityscapes", "--metrics", "--report", street / "page.html")[0] == 0
    page = (street / "page.html").read_text()
    assert 'id="extras"' in page
    assert "iiou" in page


def test_a_folder_of_other_probabilities_is_refused(scans, capsys):
    (scans / "other").mkdir()
    np.save(scans / "other" / "x.npy", np.ones(3))
    command = ["evaluate", f"{scans}/good", f"{scans}/truth", "--probabilities", f"{scans}/other", "--quiet"]
    assert main(command) == 2
    assert "holds no file that is called as a case is, such as case_0" in capsys.readouterr().err
