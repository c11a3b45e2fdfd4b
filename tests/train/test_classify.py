"""Classification as a task of the one loop: pictures and volumes, their classes, and what starts from a classifier."""

import csv
import json
import re
from dataclasses import fields

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

import densevit
from densevit.checkpoint import open_checkpoint
from densevit.cli.main import main
from densevit.data.augment.class_options import CLASS_AUGMENTS
from densevit.runs.run import open_runs
from densevit.train import check_config, train
from densevit.train.schema import RunConfig
from densevit.train.tasks.class_scores import ClassScores
from densevit.train.tasks.classify_options import ClassifyConfig
from densevit.weights import read_weights
from tests.checkpoints import save_tiny_checkpoint
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "classify.md").read_text()
COLORS = {"apple": (200, 30, 30), "leaf": (30, 200, 30), "sky": (30, 30, 200)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Three classes of pictures that differ in colour, four to train on and two to validate on of each."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name, color in COLORS.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(np.array(color) + rng.normal(0, 30, (36, 44, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


def config(root, **changes):
    def dataset(split):
        return dict(type="class_folder", root=str(root), split=split)

    return (
        dict(
            task="classify",
            model=dict(backbone="mit_b0", num_classes=3),
            optimizer=dict(type="AdamW", lr=1e-3),
            schedule=dict(type="cosine"),
            train_cfg=dict(max_iters=4, val_interval=4, checkpoint_interval=2, log_interval=1, ema=0.5),
            train_data=dict(dataset=dataset("train"), augment=dict(crop_size=(32, 32)), batch_size=3, num_workers=0),
            val_data=dict(dataset=dataset("val"), num_workers=0),
            view=dict(size=(32, 32)),
            mixing=dict(mixup=0.8, cutmix=1.0),
            label_smoothing=0.1,
            visualization=dict(tensorboard=False),
        )
        | changes
    )


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    return train(config(pictures), work_dir=tmp_path_factory.mktemp("run"), device="cpu", progress=False)


def test_a_run_scores_images_and_classes_and_its_weights_say_what_they_are(trained):
    assert {"top1", "mAcc", "cross_entropy", "classes"} == trained.scores.keys()
    assert list(trained.scores["classes"]) == ["apple", "leaf", "sky"]
    header = open_checkpoint(trained.best, classifiers=True).header
    assert header.classes == ("apple", "leaf", "sky")
    assert header.is_of_classifier
    assert header.more["view"] == dict(size=[32, 32], crop_ratio=0.875)
    with pytest.raises(ValueError, match="holds a classifier, which says what an image shows and not where"):
        densevit.Predictor(trained.best)


def test_a_run_that_was_cut_goes_on_bit_for_bit(pictures, trained, tmp_path):
    folder = tmp_path / "run"
    result = train(config(pictures), work_dir=folder, device="cpu", progress=False)
    for path in sorted((folder / "checkpoints" / "iter_4").rglob("*"), reverse=True):
        path.unlink()
    (folder / "checkpoints" / "iter_4").rmdir()
    (folder / "last_checkpoint").write_text(str(folder / "checkpoints" / "iter_2"))
    result = train(config(pictures), work_dir=folder, resume=True, device="cpu", progress=False)
    first, second = (read_weights(each.checkpoint)[0] for each in (trained, result))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("backbone", ["mit_b0", "swin_tiny"])
def test_a_trained_classifier_starts_a_segmentor(backbone, pictures, tmp_path):
    small = dict(depths=(1, 1, 1, 1)) if backbone == "swin_tiny" else {}
    options = config(pictures, model=dict(backbone=backbone, num_classes=3, backbone_options=small))
    options["train_cfg"] = dict(max_iters=1, val_interval=1, checkpoint_interval=1)
    result = train(options, work_dir=tmp_path / "run", device="cpu", progress=False)
    model = densevit.create_segmentor(
        backbone, "all_mlp", num_classes=5, backbone_options=dict(small, weights=str(result.work_dir))
    )
    given, own = read_weights(result.best)[0], model.backbone.state_dict()
    same = [
        name
        for name, value in own.items()
        if f"backbone.{name}" in given and torch.equal(value, given[f"backbone.{name}"])
    ]
    assert len(same) >= len([name for name in given if name.startswith("backbone.")])


def test_a_classifier_is_tuned_at_another_resolution(pictures, tmp_path):
    def of_size(size, **more):
        small = dict(dim=12, depth=4, num_heads=2, image_size=size)
        given = config(pictures, model=dict(backbone="deit_tiny", num_classes=3, backbone_options=small, **more))
        given["train_data"]["augment"] = dict(crop_size=(size, size))
        return given | dict(train_cfg=dict(max_iters=1), view=dict(size=(size, size)), val_data=None)

    first = train(of_size(32), work_dir=tmp_path / "first", device="cpu", progress=False)
    larger = of_size(64, weights=str(first.work_dir))
    tuned = check_config(larger).model.create()
    table, grown = (model.backbone.state_dict() for model in (check_config(of_size(32)).model.create(), tuned))
    (name,) = [name for name in grown if "pos_embed" in name and grown[name].shape != table[name].shape]
    assert (table[name].shape[1], grown[name].shape[1]) == (1 + 2 * 2, 1 + 4 * 4)  # a class token and the cells
    train(larger, work_dir=tmp_path / "second", device="cpu", progress=False)


def test_volumes_are_classified_by_the_same_task(tmp_path):
    rng = np.random.default_rng(0)
    for name, level in (("dark", 0.0), ("bright", 3.0)):
        folder = tmp_path / "scans" / name
        folder.mkdir(parents=True)
        for i in range(4):
            volume = rng.normal(0, 1, (20, 18, 22)).astype(np.float32)
            volume[6:14, 6:12, 6:16] += level
            nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), folder / f"{i}.nii.gz")
    data = dict(type="class_folder", root=str(tmp_path), images="scans", val_every=2)
    options = config(
        tmp_path,
        model=dict(backbone="mit_b0", num_classes=2, in_channels=1, spatial_dims=3),
        train_data=dict(dataset=data, augment=dict(crop_size=(16, 16, 16)), batch_size=2, num_workers=0),
        val_data=dict(dataset=dict(data, split="val"), num_workers=0),
        view=dict(size=(16, 16, 16), crop_ratio=None),
    )
    result = train(options, work_dir=tmp_path / "run", device="cpu", progress=False)
    assert list(result.scores["classes"]) == ["bright", "dark"]
    assert open_checkpoint(result.checkpoint, classifiers=True).header.spacing == (1.0, 1.0, 1.0)


def test_what_is_predicted_is_what_was_scored(pictures, trained, tmp_path, capsys):
    predictor = densevit.ClassPredictor(trained.work_dir)
    found = {path: predictor(path) for path in sorted((pictures / "val").rglob("*.png"))}
    right = [prediction.ranked[0][0] == path.parent.name for path, prediction in found.items()]
    assert 100 * sum(right) / len(right) == pytest.approx(trained.scores["top1"])
    assert all(prediction.probabilities.sum() == pytest.approx(1) for prediction in found.values())
    table = tmp_path / "classes.csv"
    command = ["classify", str(trained.work_dir), str(pictures / "val"), "--recursive", "--csv", str(table), "--quiet"]
    assert main([*command, "--device", "cpu"]) == 0
    rows = list(csv.reader(table.read_text().splitlines()))
    assert rows[0] == ["image", "class", "apple", "leaf", "sky"]
    for path, prediction in found.items():
        row = next(row for row in rows if row[0] == str(path))
        assert row[1] == prediction.ranked[0][0]
        assert [float(cell) for cell in row[2:]] == pytest.approx(prediction.probabilities.tolist(), rel=1e-4)
    assert "probability" in capsys.readouterr().out


def test_test_scores_the_same_checkpoint_alike(pictures, trained, tmp_path, capsys):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config(pictures)))
    command = ["test", str(path), str(trained.work_dir), "--device", "cpu", "--json", str(tmp_path / "scores.json")]
    assert main(command) == 0
    told = json.loads((tmp_path / "scores.json").read_text())
    assert {key: told[key] for key in trained.scores} == trained.scores
    assert main([*command, "--tta"]) == 2
    assert "--tta is of label maps, and this config trains a classifier" in capsys.readouterr().err


def test_a_frozen_backbone_is_probed_in_two_ways(pictures, trained, tmp_path, capsys):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config(pictures)))
    command = ["probe", str(path), "--device", "cpu", "--quiet", "--k", "3", "--json", str(tmp_path / "scores.json")]
    assert main([*command[:2], str(trained.work_dir), *command[2:]]) == 0
    told = json.loads((tmp_path / "scores.json").read_text())
    assert told.keys() == {"3 neighbours", "linear"}
    assert told["linear"]["top1"] > 80  # three colours: even untrained features tell them apart
    assert "tensors matched" in capsys.readouterr().out
    assert main([*command, "--cfg-options", "task=segment"]) == 2


def test_a_run_of_classification_is_reported_like_others(trained):
    (run,) = open_runs([trained.work_dir])
    facts = run.facts()
    assert facts["best top1"] == pytest.approx(trained.scores["top1"])
    assert facts["s/iteration"] > 0
    assert facts["state"] == "finished"


def test_a_segmentor_is_no_classifier(tmp_path):
    path = save_tiny_checkpoint(tmp_path / "weights.safetensors", num_classes=3, classes=("a", "b", "c"))
    with pytest.raises(ValueError, match=r"holds a segmentor, which says where things are; use densevit\.Predictor"):
        densevit.ClassPredictor(path)


def test_the_page_names_every_key_of_its_own():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ", PAGE, re.MULTILINE)
    told = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    common = {field.name for field in fields(RunConfig)} - {"train_data", "val_data", "test_data"}
    assert {field.name for field in fields(ClassifyConfig)} - common <= told
    of_augment = PAGE[PAGE.index("`augment` of pictures") :].split("\n\n")[0]
    assert {field.name for field in fields(CLASS_AUGMENTS[2])} <= set(re.findall(r"`(\w+)", of_augment))


def test_scores_are_those_of_the_counts():
    counts = torch.zeros(7, 7, dtype=torch.int64)
    counts[0, 0], counts[0, 1], counts[1, 1], counts[2, 0] = 3, 1, 2, 4
    scores = ClassScores(counts, among_top=9, loss=5.0)
    assert scores.means == pytest.approx(dict(top1=50.0, top5=90.0, mAcc=100 * (3 / 4 + 1 + 0) / 3, cross_entropy=0.5))
    classes = scores.as_dict("abcdefg")["classes"]
    assert (classes["a"], classes["c"], classes["g"]) == (dict(Acc=75.0), dict(Acc=0.0), dict(Acc=None))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(view=dict(size=(32, 32, 32))), r"view.size must have 2 numbers, got \(32, 32, 32\)"),
        (dict(model=dict(backbone="mit_b0", num_classes=4)), "model.num_classes is 4 but train_data has 3 classes"),
        (dict(model=dict(backbone="mit_b9", num_classes=3)), "did you mean mit_b"),
        (dict(model=dict(backbone="mit_b0", num_classes=3, head="mean_pool")), "no class head named 'mean_pool'"),
        (dict(label_smoothing=1.5), "label_smoothing must be from 0 to 1"),
        (dict(decoder_options={}), "unknown key 'decoder_options'"),
        (dict(train_cfg=dict(max_iters=1, best="mIoU")), "best must be 'top1' or 'mAcc'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(change, sentence, pictures, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        train(check_config(config(pictures, **change)), work_dir=tmp_path / "run", device="cpu", progress=False)


def test_scalars_hold_the_scores_of_each_validation(trained):
    rows = [json.loads(line) for line in (trained.work_dir / "scalars.jsonl").read_text().splitlines()]
    assert [row["iter"] for row in rows if "top1" in row] == [4]
    assert all(np.isfinite(row["loss_cross_entropy"]) for row in rows if "loss_cross_entropy" in row)
