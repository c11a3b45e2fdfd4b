"""Scores of label files beside the programs of other projects, where those are installed."""

import json
import os

import nibabel
import numpy as np
import pytest
from PIL import Image

from densevit.cli import main
from densevit.data.layouts.cityscapes import LABEL_ID_TO_TRAIN_ID
from tools.peers import import_peer

ENDS = ("_leftImg8bit", "_gtFine_labelIds")


def test_nnunets_summary_is_that_of_nnunet(tmp_path):
    peer = import_peer("nnunetv2.evaluation.evaluate_predictions")
    reader = import_peer("nnunetv2.imageio.nibabel_reader_writer").NibabelIO()
    rng = np.random.default_rng(0)
    for i in range(4):
        truth = rng.choice(np.array([0, 1, 2], np.uint8), (10, 9, 8), p=(0.6, 0.3, 0.1))
        predicted = np.where(rng.random(truth.shape) < 0.8, truth, 0).astype(np.uint8)
        truth[truth == (2 if i == 1 else 9)] = 0
        predicted[predicted == (2 if i in (1, 2) else 9)] = 0
        for folder, label in (("truth", truth), ("predicted", predicted)):
            (tmp_path / folder).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), tmp_path / folder / f"case_{i}.nii.gz")
    labels = {"background": 0, "organ": 1, "lesion": 2, "both": [1, 2]}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    folders = [str(tmp_path / folder) for folder in ("predicted", "truth")]
    assert main(["evaluate", *folders, "--nnunet", f"{tmp_path}/ours.json", "--metrics", "--workers", "0"]) == 0
    regions = [1, 2, (1, 2)]
    peer.compute_metrics_on_folder(*reversed(folders), f"{tmp_path}/theirs.json", reader, ".nii.gz", regions, None, 1)
    ours, theirs = (json.loads((tmp_path / f"{who}.json").read_text()) for who in ("ours", "theirs"))
    assert without_nan(ours["foreground_mean"]) == pytest.approx(without_nan(theirs["foreground_mean"]))
    for key, scores in theirs["mean"].items():
        assert without_nan(ours["mean"][key]) == pytest.approx(without_nan(scores))
    cases = {os.path.basename(case["reference_file"]): case["metrics"] for case in ours["metric_per_case"]}
    for case in theirs["metric_per_case"]:
        for key, scores in case["metrics"].items():
            own = cases[os.path.basename(case["reference_file"])][key]
            assert without_nan(own) == pytest.approx(without_nan(scores))


def without_nan(scores):
    """nnU-Net writes nan, which JSON does not know, and we write null."""
    return {name: None if value is None or value != value else value for name, value in scores.items()}


def test_classes_and_categories_of_cityscapes_are_those_of_its_scripts(tmp_path, monkeypatch):
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)  # numpy 2 lacks what the scripts call
    peer = import_peer("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    rng = np.random.default_rng(0)
    folders = [tmp_path / name for name in ("predicted", "truth")]
    for folder in folders:
        folder.mkdir()
    for i in range(3):
        truth = np.kron(rng.choice(list(LABEL_ID_TO_TRAIN_ID), (8, 16)), np.ones((8, 8))).astype(np.uint8)
        predicted = np.where(rng.random(truth.shape) < 0.7, truth, rng.permutation(truth)).astype(np.uint8)
        predicted[np.isin(predicted, (29, 30))] = 0  # ignored classes that the scripts count as vehicles in iIoU alone
        Image.fromarray(truth).save(folders[1] / f"a_{i}_gtFine_labelIds.png")
        numbers = np.kron(rng.integers(0, 4, (8, 16)), np.ones((8, 8))).astype(np.uint16)
        instances = np.where((truth > 23) & (numbers > 0), 1000 * truth.astype(np.uint16) + numbers, truth)
        Image.fromarray(instances.astype(np.uint16)).save(folders[1] / f"a_{i}_gtFine_instanceIds.png")
        Image.fromarray(predicted).save(folders[0] / f"a_{i}_leftImg8bit.png")
    peer.args.quiet, peer.args.JSONOutput, peer.args.evalPixelAccuracy = True, False, False
    names = [[str(folder / f"a_{i}{end}.png") for i in range(3)] for folder, end in zip(folders, ENDS, strict=True)]
    theirs = peer.evaluateImgLists(*names, peer.args)
    for classes, key in (("cityscapes", "class"), ("cityscapes_categories", "category")):
        flags = ["--classes", classes, "--policy", "cityscapes", "--json", f"{tmp_path}/ours.json", "--workers", "0"]
        assert main(["evaluate", *map(str, folders), *flags]) == 0
        written = json.loads((tmp_path / "ours.json").read_text())
        rows, weighed = written["means"], {each["structure"]: each["of_set"] for each in written["extras"]}
        ours = {row["structure"]: row["mean"] for row in rows if row["metric"] == "iou"}
        scores = theirs[f"{key}Scores"]
        assert {name: ours[name] for name in ours if name} == pytest.approx(
            {name: scores[name] for name in ours if name}
        )
        assert ours[None] == pytest.approx(
            theirs["averageScoreClasses" if key == "class" else "averageScoreCategories"]
        )
        end = "Classes" if key == "class" else "Categories"
        assert weighed.pop(None) == pytest.approx(theirs[f"averageScoreInst{end}"])
        assert weighed == pytest.approx({name: theirs[f"{key}InstScores"][name] for name in weighed})
