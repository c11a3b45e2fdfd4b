"""Training on volumes: the same engine, crops in 3D, scores by case."""

import json

import nibabel
import numpy as np
import pytest
import torch

from densevit.checkpoint import open_checkpoint
from densevit.cli.main import main
from densevit.inference import SliceOptions
from densevit.train import check_config, train
from densevit.train import test as score
from densevit.weights import read_weights
from tests.train.hooks import cut_at
from tests.train.test_training import assert_same, final_state, scalars, write_config


def write_volume(path, values, spacing=(1.0, 1.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([*spacing, 1.0])), path)


@pytest.fixture(scope="module")
def balls(tmp_path_factory):
    """A Decathlon folder of four training volumes and two for validation, with a bright box in each."""
    root = tmp_path_factory.mktemp("balls")
    rng = np.random.default_rng(0)
    entries = []
    for i in range(6):
        label = np.zeros((20, 18, 16), np.uint8)
        x, y, z = rng.integers(2, 8, 3)
        label[x : x + 8, y : y + 8, z : z + 6] = 1
        image = (label * 50 + rng.normal(100, 5, label.shape)).astype(np.float32)
        name = f"ball_{i}.nii.gz"
        write_volume(root / "imagesTr" / name, image)
        write_volume(root / "labelsTr" / name, label)
        entries.append(dict(image=f"./imagesTr/{name}", label=f"./labelsTr/{name}"))
    labels = {"0": "background", "1": "ball"}
    content = dict(labels=labels, modality={"0": "MRI"}, training=entries[:4], validation=entries[4:])
    (root / "dataset.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def config(balls):
    """Four iterations of two crops, validated by windows."""
    return dict(
        model=dict(
            backbone="mit_b0",
            decoder="all_mlp",
            num_classes=2,
            spatial_dims=3,
            in_channels=1,
            backbone_options=dict(dims=(8, 16, 40, 64), depths=(1, 1, 1, 1)),
            decoder_options=dict(dim=16, dropout=0.0),
        ),
        loss=[dict(type="cross_entropy"), dict(type="dice")],
        optimizer=dict(type="AdamW", lr=1e-3),
        schedule=dict(type="poly"),
        train_cfg=dict(max_iters=4, val_interval=4, checkpoint_interval=2, log_interval=1, best="mCaseDice"),
        train_data=dict(
            dataset=dict(type="msd", root=str(balls)),
            augment=dict(crop_size=(16, 12, 14), flips=(0.0, 0.0, 0.5)),
            batch_size=2,
            num_workers=0,
        ),
        val_data=dict(dataset=dict(type="msd", root=str(balls), split="val"), num_workers=0),
        inference=dict(mode="slide_gaussian", roi_size=(16, 16, 16)),
        visualization=dict(num_images=1),
    )


def test_a_run_on_volumes_leaves_scores_by_case(config, tmp_path):
    result = train(config, work_dir=tmp_path, device="cpu")
    assert {"mIoU", "mDice", "mCaseDice"} <= scalars(tmp_path)[-1].keys()
    per_class = result.scores["classes"]
    assert result.scores["mCaseDice"] == pytest.approx(per_class["ball"]["CaseDice"])
    _, header = read_weights(result.best)
    assert header["training"]["scores"]["mCaseDice"] == result.scores["mCaseDice"]
    assert header["normalization"] == dict(type="zscore", percentiles=None, nonzero=False)
    assert header["modality"] == ["MR"]
    assert header["inference"]["mode"] == "slide_gaussian"
    assert "CaseDice" in (tmp_path / "log.txt").read_text()


def test_testing_gives_the_scores_of_the_last_validation(config, tmp_path):
    result = train(config, work_dir=tmp_path, device="cpu")
    seen = []
    tested = score(
        config, result.checkpoint, device="cpu", on_prediction=lambda sample, label: seen.append(label.shape)
    )
    assert tested.scores.as_dict(tested.classes) == result.scores
    assert seen == [(16, 18, 20), (16, 18, 20)]


def test_the_mean_over_cases_is_that_of_each_case(config, tmp_path):
    result = train(config, work_dir=tmp_path, device="cpu")
    dice = []

    def on_prediction(sample, labels):
        both = ((labels == 1) & (sample.label == 1)).sum()
        dice.append(200 * float(both) / float((labels == 1).sum() + (sample.label == 1).sum()))

    score(config, result.checkpoint, device="cpu", on_prediction=on_prediction)
    assert result.scores["mCaseDice"] == pytest.approx(np.mean(dice))


def test_a_crashed_run_resumes_to_the_last_bit(config, tmp_path):
    straight = train(config, work_dir=tmp_path / "straight", device="cpu")
    with pytest.raises(SystemError):
        train(cut_at(config, 3), work_dir=tmp_path / "crashed", device="cpu")
    resumed = train(config, work_dir=tmp_path / "crashed", resume=True, device="cpu")
    assert_same(final_state(resumed), final_state(straight))
    assert resumed.scores == straight.scores


def test_cases_of_several_spacings_are_scored_on_their_own_grids(config, balls, tmp_path, caplog):
    """A copy of the set with half of the voxels along one axis in every second file trains after `spacing` is set."""
    root = tmp_path / "mixed"
    content = json.loads((balls / "dataset.json").read_text())
    for i, entry in enumerate(content["training"] + content["validation"]):
        for path in entry.values():
            values = np.asarray(nibabel.load(balls / path).dataobj)
            write_volume(root / path, values[:, :, :: 1 + i % 2], spacing=(1.0, 1.0, 1.0 + i % 2))
    (root / "dataset.json").write_text(json.dumps(content))
    for section in ("train_data", "val_data"):
        config[section]["dataset"]["root"] = str(root)
    with pytest.raises(ValueError, match=r"mm; set spacing, to which all are then resampled"):
        train(config, work_dir=tmp_path / "refused", device="cpu")
    for section in ("train_data", "val_data"):
        config[section]["dataset"]["spacing"] = (1.5, 1.0, 1.0)
    result = train(config, work_dir=tmp_path / "run", device="cpu")
    seen = []
    score(config, result.checkpoint, device="cpu", on_prediction=lambda sample, label: seen.append(label.shape))
    assert seen == [(16, 18, 20), (8, 18, 20)]
    assert read_weights(result.checkpoint)[1]["spacing"] == [1.5, 1.0, 1.0]
    assert "in train_data too" not in caplog.text


def test_the_cache_changes_no_bit_of_a_run(config, tmp_path, monkeypatch):
    plain = train(config, work_dir=tmp_path / "plain", device="cpu")
    for section in ("train_data", "val_data"):
        config[section]["dataset"]["cache"] = dict(folder=str(tmp_path / "cache"))
    for name in ("first", "second"):
        cached = train(config, work_dir=tmp_path / name, device="cpu")
        assert_same(final_state(cached), final_state(plain))
        assert cached.scores == plain.scores
    assert any((tmp_path / "cache").rglob("*.arrays"))


def test_validating_on_what_was_trained_on_is_said(config, tmp_path, caplog):
    config["val_data"]["dataset"]["split"] = "train"
    train(config, work_dir=tmp_path, device="cpu")
    assert "4 of the 4 cases of val_data are in train_data too" in caplog.text


def test_the_network_learns_to_find_the_ball(config, tmp_path):
    config["train_cfg"].update(max_iters=60, val_interval=60, checkpoint_interval=60)
    config["optimizer"].update(lr=5e-3, lr_multipliers=dict(head=10.0))
    config["inference"] = dict(mode="whole", scales=(2.0,))
    config["train_data"]["augment"].update(crop_size=(32, 32, 32), scale=(1.8, 2.2))
    torch.manual_seed(0)
    assert train(config, work_dir=tmp_path, device="cpu").scores["mCaseDice"] > 70


def change(config, dotted, value):
    *sections, key = dotted.split(".")
    for section in sections:
        config = config[section]
    config[key] = value


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("train_data.augment.crop_size", (16, 16), "train_data.augment.crop_size must be 3 whole numbers"),
        ("train_data.augment.photometric", True, "unknown key 'train_data.augment.photometric'"),
        ("train_data.rare_class_sampling", True, r"crop volumes by train_data\.augment\.foreground"),
        ("train_data.augment.foreground_weights", (0, 1, 1), "3 numbers and the model 2 classes; give one for each"),
        ("inference.base_size", (64, 64), r"see volumes at another size by inference\.scales"),
        ("inference.roi_size", None, r"inference\.mode 'slide_gaussian' needs the size of its windows; give roi_size"),
        ("train_cfg.best", "mAcc", "train_cfg.best must be 'mIoU' or 'mDice' or 'mCaseDice'"),
    ],
)
def test_a_wrong_key_is_one_sentence(config, key, value, said):
    change(config, key, value)
    with pytest.raises(ValueError, match=said) as caught:
        check_config(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model.in_channels", 2, r"model\.in_channels is 2 but train_data has 1 channels; set model\.in_channels=1"),
        ("model.num_classes", 3, r"model\.num_classes is 3 but train_data has 2 classes"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_one_sentence_and_leaves_no_folder(config, tmp_path, key, value, said):
    change(config, key, value)
    with pytest.raises(ValueError, match=said):
        train(config, work_dir=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_pictures_are_not_chosen_by_the_dice_of_cases(config):
    config["model"].update(spatial_dims=2, in_channels=3)
    config["train_data"]["augment"] = dict(crop_size=(16, 16))
    with pytest.raises(ValueError, match=r"train_cfg\.best 'mCaseDice' is the mean over the cases of 3D data"):
        check_config(config)


def test_the_command_scores_volumes_and_does_not_write_them_as_pictures(config, tmp_path, capsys):
    config["train_cfg"].update(max_iters=1, val_interval=9)
    config["val_data"]["num_workers"] = 0
    path = write_config(tmp_path / "small.py", config)
    assert main(["train", path, "--work-dir", str(tmp_path / "run"), "--device", "cpu"]) == 0
    trained = str(tmp_path / "run" / "checkpoints" / "iter_1")
    assert main(["test", path, trained, "--device", "cpu"]) == 0
    assert "mCaseDice" in capsys.readouterr().out
    windows = ["--roi-size", "12", "14", "16", "--stride", "12", "--json", str(tmp_path / "scores.json")]
    windows += ["--metrics", "hd95_max"]
    assert main(["test", path, trained, "--device", "cpu", *windows]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    inference, means = scores["inference"], scores["evaluation"]["means"]
    dice, distance = (
        next(row for row in means if (row["metric"], row["structure"], row["level"]) == (metric, "ball", "case"))
        for metric in ("dice", "hd95_max")
    )
    assert 100 * dice["mean"] == pytest.approx(scores["mCaseDice"])
    assert dice["n"] == distance["n"] == 2
    assert (inference["roi_size"], inference["stride"]) == ([12, 14, 16], [12, 12, 12])
    assert main(["test", path, trained, "--device", "cpu", "--out", str(tmp_path / "out")]) == 2
    assert "this set holds volumes" in capsys.readouterr().err


@pytest.mark.parametrize("axis", ["axial", "sagittal"])
def test_a_network_of_pictures_is_trained_tested_and_predicts_on_volumes_by_commands(config, tmp_path, capsys, axis):
    slices = dict(axis=axis, neighbours=1)
    for section in ("train_data", "val_data"):
        config[section]["dataset"]["slices"] = slices
    config["model"].update(spatial_dims=2, in_channels=3)
    config["train_data"]["augment"] = dict(crop_size=(16, 16))
    config["inference"] = dict(mode="slide", roi_size=(16, 16), batch_size=4, flips=(-1,))
    path = write_config(tmp_path / "slices.py", config)
    assert main(["train", path, "--work-dir", str(tmp_path / "run"), "--device", "cpu"]) == 0
    trained = tmp_path / "run" / "checkpoints" / "iter_4"
    header = open_checkpoint(trained).header
    assert (header.slices, header.spatial_dims, header.image_channels) == (SliceOptions(**slices), 2, 1)
    assert header.spacing == pytest.approx((1.0, 1.0, 1.0))
    assert main(["test", path, str(trained), "--device", "cpu", "--json", str(tmp_path / "scores.json")]) == 0
    tested = json.loads((tmp_path / "scores.json").read_text())
    scan = config["val_data"]["dataset"]["root"] + "/imagesTr/ball_5.nii.gz"
    assert main(["predict", str(trained), scan, "--out", str(tmp_path / "masks"), "--device", "cpu"]) == 0
    (mask,) = (tmp_path / "masks").rglob("*.nii.gz")
    assert nibabel.load(mask).shape == nibabel.load(scan).shape
    np.testing.assert_array_equal(nibabel.load(mask).affine, nibabel.load(scan).affine)
    assert tested["mCaseDice"] == pytest.approx(scalars(tmp_path / "run")[-1]["mCaseDice"])


def test_volumes_without_labels_are_learned_from(config, tmp_path):
    unlabelled = dict(dataset={**config["train_data"]["dataset"], "split": "val"})
    config["train_cfg"].update(max_iters=1, checkpoint_interval=1, ema=0.5)
    given = {**config, "task": "mean_teacher", "unlabelled_data": unlabelled, "val_data": None}
    train(given, work_dir=tmp_path, device="cpu", progress=False)
    assert {"loss_dice", "loss_cross_entropy_unlabelled", "loss_dice_unlabelled"} < scalars(tmp_path)[0].keys()
