"""A model of clips: from videos with label maps to the label map of each frame of a video."""

import json

import numpy as np
import pytest

import densevit
from densevit.checkpoint import open_checkpoint
from densevit.cli import main
from densevit.metrics import ConfusionMatrix
from densevit.pictures.video import open_video
from densevit.pictures.video_file import writing_video
from densevit.predictor import Predictor
from densevit.report.thumbnails import BESIDE
from tests.predictor.common import files_below, read

SMALL = dict(dim=24, depth=4, num_heads=2, image_size=32, num_frames=4, patch_size=8)
CONFIG = """\
model = dict(backbone="timesformer_base", decoder="all_mlp", num_classes=2, spatial_dims=3,
             backbone_options={small!r}, decoder_options=dict(dim=8))
loss = [dict(type="cross_entropy")]
optimizer = dict(type="AdamW", lr=1e-2)
schedule = dict(type="poly")
train_cfg = dict(max_iters=8, val_interval=8, checkpoint_interval=8)
data = dict(type="clips", root={root!r}, classes=["ground", "box"], num_frames=4, val_every=2)
augment = dict(crop_size=(32, 32), scale=(1.0, 1.0))
train_data = dict(dataset=dict(data, split="train"), augment=augment, batch_size=2, num_workers=0)
val_data = dict(dataset=dict(data, split="val"), num_workers=0)
visualization = dict(tensorboard=False, num_images=1)
del data, augment
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two videos of ten frames, of which each second one has a label; a config, and a run of eight iterations."""
    from PIL import Image

    root = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for video in "ab":
        for number in range(10):
            label = np.zeros((40, 48), np.uint8)
            label[10:30, 2 * number : 2 * number + 20] = 1
            pixels = np.clip(60 + 120 * label[..., None] + rng.normal(0, 9, (40, 48, 3)), 0, 255).astype(np.uint8)
            for kind, array in (("JPEGImages", pixels), ("Annotations", label)):
                (root / kind / video).mkdir(parents=True, exist_ok=True)
                if kind == "JPEGImages" or number % 2 == 0:
                    Image.fromarray(array).save(root / kind / video / f"{number:05}.png")
    (root / "config.py").write_text(CONFIG.format(small=SMALL, root=str(root)))
    assert main(["train", str(root / "config.py"), "--work-dir", str(root / "run"), "--device", "cpu"]) == 0
    return root


def test_a_checkpoint_of_clips_says_which_frames_it_sees_together(folder):
    header = open_checkpoint(folder / "run").header
    assert (vars(header.clips), header.is_of_volumes) == (dict(frames=4, step=1), False)
    assert header.normalization["type"] == "mean_std"


def test_scores_are_those_of_the_label_maps_that_are_predicted(folder, tmp_path, capsys):
    command = ["test", str(folder / "config.py"), str(folder / "run"), "--json", str(tmp_path / "scores.json")]
    assert main([*command, "--device", "cpu"]) == 0
    said, counts = json.loads((tmp_path / "scores.json").read_text()), ConfusionMatrix(2)
    predictor = Predictor(folder / "run")
    predicted = predictor(folder / "JPEGImages" / "a").label  # of the two the one to validate on
    for number in range(0, 10, 2):
        counts.update(predicted[number], read(folder / "Annotations" / "a" / f"{number:05}.png"))
    assert said["mIoU"] == pytest.approx(100 * counts.compute().mIoU)
    report = densevit.predict(predictor, folder / "JPEGImages" / "a", tmp_path / "out", progress=False)
    assert 0 < np.mean(predicted) < 1
    for path, scores in report.temporal.items():
        assert said["temporal"][str(path)] == pytest.approx(vars(scores))
    assert "flicker" in capsys.readouterr().out


def test_a_video_file_is_predicted_from_the_command_line(folder, tmp_path, capsys):
    with writing_video(tmp_path / "drive.mp4", size=(40, 48), fps=10) as put:
        for number in range(10):
            put(read(folder / "JPEGImages" / "a" / f"{number:05}.png"))
    out = tmp_path / "out"
    command = ["predict", str(folder / "run"), str(tmp_path / "drive.mp4"), "-o", str(out), "--device", "cpu"]
    assert main([*command, "--format", "overlay"]) == 0
    assert files_below(out) == ["drive.json", "drive.webm"]
    assert open_video(out / "drive.webm").fps == 10
    assert f"{tmp_path / 'drive.mp4'}: flicker" in capsys.readouterr().out
    assert main([*command, "--format", "overlay", "--resume"]) == 0
    assert "0 predicted, 1 done before" in capsys.readouterr().out
    assert main([*command, "--preview"]) == 2
    assert "--preview is for scans, and this is a checkpoint of" in capsys.readouterr().err


def test_a_set_of_clips_is_looked_at(folder, tmp_path, capsys):
    assert main(["doctor", str(folder / "config.py"), "--quiet", "--workers", "0"]) == 0
    assert "val: 1 videos of 2 classes" in capsys.readouterr().out
    drawn = ["--augmented", str(tmp_path), "--count", "1"]
    assert main(["doctor", str(folder / "config.py"), "--quiet", *drawn]) == 0
    (path,) = tmp_path.glob("*.png")
    assert read(path).shape == (32, 2 * 32 + BESIDE, 3)
