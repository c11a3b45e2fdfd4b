"""CLIP as a task of the one loop: pairs in, and classes by their names for pictures and for their pixels."""

import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import densevit
from densevit.checkpoint import build_classifier, open_checkpoint, write_checkpoint
from densevit.cli.main import main
from densevit.predictor.zero_shot import segmentor_of
from densevit.train import check_config, train
from densevit.train.tasks.clip_scores import recalls
from densevit.weights import load_weights, read_weights

SMALL = dict(dim=8, depths=(1, 1, 1, 1), image_size=32)
COLORS = {"apple": (200, 30, 30), "leaf": (30, 200, 30), "sky": (30, 30, 200)}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Pictures of one colour each, with two texts; every third is for validation."""
    root, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    rows, labels = [["image", "text", "split"]], [["image", "label"]]
    for name, color in COLORS.items():
        for i in range(6):
            pixels = np.clip(np.array(color) + rng.normal(0, 30, (40, 44, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"{name}_{i}.png")
            split = "val" if i % 3 == 0 else "train"
            rows += [[f"{name}_{i}.png", text, split] for text in (f"a photo of a {name}.", f"only {name}")]
            labels.append([f"{name}_{i}.png", name])
    for file, content in (("pairs.csv", rows), ("labels.csv", labels)):
        with open(root / file, "w", newline="") as opened:
            csv.writer(opened).writerows(content)
    return root


def config(root, **changes):
    data = dict(type="pair_table", root=str(root))
    return (
        dict(
            task="clip",
            model=dict(
                backbone="clip_resnet50",
                width=16,
                text=dict(dim=16, depth=1, num_heads=2, context=16),
                backbone_options=SMALL,
            ),
            tokenizer=40,
            optimizer=dict(type="AdamW", lr=5e-3, no_decay=("norm", "bias", "scale")),
            schedule=dict(type="constant"),
            train_cfg=dict(max_iters=40, val_interval=40, checkpoint_interval=30, log_interval=10, ema=0.5),
            train_data=dict(
                dataset=dict(data, split="train"),
                augment=dict(crop_size=(32, 32), flip=0.0, area=(0.5, 1.0)),
                batch_size=12,
                num_workers=0,
            ),
            val_data=dict(dataset=dict(data, split="val"), num_workers=0),
            zero_shot=dict(dataset=dict(type="class_table", root=str(root)), num_workers=0),
            view=dict(size=(32, 32)),
            visualization=dict(tensorboard=False),
        )
        | changes
    )


@pytest.fixture(scope="module")
def trained(pairs, tmp_path_factory):
    return train(config(pairs), work_dir=tmp_path_factory.mktemp("run"), device="cpu", progress=False)


def test_a_run_is_scored_by_retrieval_and_by_classes_that_it_knows_by_name(trained):
    assert trained.scores.keys() >= {"text_recall", "image_recall", "recall", "top1", "mAcc", "classes"}
    assert trained.scores["top1"] > 60  # of three classes
    header = open_checkpoint(trained.best, classifiers=True).header
    assert header.is_of_clip
    with pytest.raises(
        ValueError, match="holds a CLIP, which has no classes of its own; name some: --classes road,car"
    ):
        densevit.Predictor(trained.work_dir)


def test_a_run_that_was_cut_goes_on_bit_for_bit(pairs, trained, tmp_path):
    shutil.copytree(trained.work_dir, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "iter_40")
    (tmp_path / "run" / "last_checkpoint").unlink()
    result = train(config(pairs), work_dir=tmp_path / "run", resume=True, device="cpu", progress=False)
    first, second = (read_weights(each.checkpoint)[0] for each in (trained, result))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_command_names_classes_of_pictures_and_of_pixels(pairs, trained, tmp_path, capsys):
    two = np.concatenate([np.asarray(Image.open(pairs / f"{name}_0.png")) for name in ("apple", "sky")], axis=1)
    Image.fromarray(two).save(tmp_path / "two.png")
    run, names = str(trained.work_dir), ["--classes", "apple, leaf,sky", "--quiet", "--device", "cpu"]
    assert main(["classify", run, str(pairs / "leaf_3.png"), *names]) == 0
    assert capsys.readouterr().out.split()[-2] == "leaf"
    assert main(["predict", run, str(tmp_path / "two.png"), "-o", str(tmp_path / "out"), *names]) == 0
    label = np.asarray(Image.open(tmp_path / "out" / "two.png"))
    assert label.shape == two.shape[:2]
    assert set(np.unique(label)) <= {0, 1, 2}
    refined = ["--prompt-denoising", "--key-smoothing", "0.9"]
    assert main(["predict", run, str(tmp_path / "two.png"), "-o", str(tmp_path / "refined"), *names, *refined]) == 0
    assert np.asarray(Image.open(tmp_path / "refined" / "two.png")).shape == label.shape
    assert main(["predict", run, str(tmp_path / "two.png"), "-o", str(tmp_path / "out")]) == 2
    assert main(["predict", run, str(tmp_path / "two.png"), "-o", str(tmp_path / "out"), *refined]) == 2
    assert main(["classify", run, str(tmp_path / "two.png"), "--templates", "a {}"]) == 2
    said = capsys.readouterr().err
    assert "name some: --classes road,car" in said
    assert "--templates are said of --classes" in said
    assert "--prompt-denoising is of --classes; name these too" in said


@pytest.mark.parametrize("refined", [{}, dict(prompt_denoising=0.5, key_smoothing=1.0)], ids=str)
def test_the_segmentor_of_names_is_a_checkpoint_like_any_other(trained, tmp_path, refined):
    opened = segmentor_of(trained.work_dir, ["apple", "sky"], templates=["a photo of a {}.", "only {}"], **refined)
    assert refined.items() <= opened.header.model["decoder_options"].items()
    assert (opened.header.classes, opened.header.inference.roi_size) == (("apple", "sky"), (32, 32))
    write_checkpoint(tmp_path / "weights.safetensors", opened.tensors, opened.header)
    picture = np.zeros((50, 70, 3), np.uint8)
    labels = [densevit.Predictor(each).label(picture) for each in (opened, tmp_path)]
    assert np.array_equal(*labels)


def test_its_image_encoder_starts_a_segmentor(trained):
    model = densevit.create_backbone("clip_resnet50", **SMALL)
    report = load_weights(model, trained.best)
    assert report.complete
    assert any(name.startswith("text.") for name in report.ignored)
    classifier = build_classifier(open_checkpoint(trained.best, classifiers=True))  # which `densevit analyze` looks at
    assert classifier(torch.randn(1, 3, 32, 32)).shape == (1, 16)


def test_recalls_count_any_of_the_texts_of_an_image():
    images, texts = torch.eye(3), torch.eye(3)[[1, 0, 2]]
    assert recalls(images, texts, [np.array([1]), np.array([0, 2]), np.array([0])]) == dict(
        text_recall=pytest.approx(200 / 3), image_recall=pytest.approx(200 / 3), recall=pytest.approx(200 / 3)
    )


def test_what_a_config_cannot_mean_is_refused(pairs):
    with pytest.raises(ValueError, match=r"train_cfg\.best 'top1' is of classes; add zero_shot, or use 'recall'"):
        check_config(config(pairs, zero_shot=None, train_cfg=dict(max_iters=1, best="top1")))
    with pytest.raises(ValueError, match="batch_size must be at least 2"):
        check_config(config(pairs, train_data=dict(config(pairs)["train_data"], batch_size=1)))
    with pytest.raises(ValueError, match=r"templates must be texts with \{\}"):
        check_config(config(pairs, templates=("road",)))
