"""Videos in, a label map of each frame, an overlay and their steadiness out: by clips, and frame by frame."""

import json

import numpy as np
import pytest
import torch

import densevit
from densevit.checkpoint import Header
from densevit.inference import ClipOptions
from densevit.pictures.video import open_video
from densevit.predictor import Predictor
from tests.checkpoints import save_tiny_checkpoint
from tests.predictor.common import files_below, read

CLASSES = ("road", "car", "tree")


class Spy(torch.nn.Module):
    """Classes by the brightness of a pixel and how far its clip has come; remembers the sizes of what it saw."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        ramp = torch.linspace(0, 1, x.shape[2]).view(-1, 1, 1).expand(x.shape[2:])
        return torch.stack([x.mean(1), -x.mean(1), ramp.expand(len(x), *ramp.shape)], 1)


def clip_predictor(frames=4, step=1, **options):
    model = dict(num_classes=3, spatial_dims=3, in_channels=3)
    header = Header(model=model, classes=CLASSES, label_values=(0, 7, 9), clips=ClipOptions(frames=frames, step=step))
    return Predictor(Spy(), header, **options)


@pytest.fixture
def folder(tmp_path, save):
    """videos/one with eleven frames of 20 x 24 pixels."""
    frames = np.random.default_rng(0).integers(0, 256, (11, 20, 24, 3), dtype=np.uint8)
    for number, frame in enumerate(frames):
        save(tmp_path / "videos" / "one" / f"{number:03}.png", frame)
    return tmp_path / "videos"


def test_a_video_is_predicted_by_clips_that_stream_through_time(folder, tmp_path):
    predictor = clip_predictor()
    report = densevit.predict(predictor, folder, tmp_path / "out", formats=["label_ids", "overlay"], progress=False)
    assert set(predictor.model.seen) == {(1, 3, 4, 20, 24)}
    assert report.failed == {}
    names = [f"label_ids/one/{number:03}.png" for number in range(11)]
    assert files_below(tmp_path / "out") == [*names, "one.json", "overlay/one.webm"]
    expected = predictor(folder / "one").label  # the same windows, kept in memory
    assert set(np.unique(expected)) == {0, 7, 9}
    assert np.array_equal(np.stack([read(tmp_path / "out" / name) for name in names]), expected)
    overlay = tmp_path / "out" / "overlay" / "one.webm"
    assert open_video(overlay).image.shape == (3, 11, 20, 24)
    assert b"V_VP8" in overlay.read_bytes()  # the codec, of those that browsers play
    said = json.loads((tmp_path / "out" / "one.json").read_text())
    assert said["temporal"] == vars(report.temporal[folder / "one"])
    assert 0 <= said["temporal"]["moved_miou"] <= 1
    array = np.stack([read(folder / "one" / f"{number:03}.png") for number in range(11)])
    assert np.array_equal(predictor(array).label, expected)


def test_frames_that_are_a_step_apart_are_seen_together(folder):
    predictor = clip_predictor(frames=2, step=3)
    label = predictor(folder / "one").label
    assert label.shape == (11, 20, 24)
    assert set(predictor.model.seen) == {(3, 3, 2, 20, 24)}
    with pytest.raises(ValueError, match="roi_size must begin with a multiple of 3 frames"):
        clip_predictor(frames=2, step=3, mode="slide", roi_size=(4, 20, 24))(folder / "one")


def test_a_short_video_is_one_clip(folder):
    predictor = clip_predictor(frames=64, step=2)
    assert predictor(np.zeros((1, 8, 8, 3), np.uint8)).label.shape == (1, 8, 8)
    assert predictor(np.zeros((5, 8, 8, 3), np.uint8)).label.shape == (5, 8, 8)


def test_finished_videos_are_resumed_and_others_made(folder, tmp_path):
    predict = dict(resume=True, progress=False)
    predictor, out = clip_predictor(), tmp_path / "out"
    densevit.predict(predictor, folder, out, **predict)
    assert densevit.predict(predictor, folder, out, **predict).resumed == [folder / "one"]
    (out / "one" / "000.png").unlink()
    (folder / "one" / "003.png").write_bytes((folder / "one" / "004.png").read_bytes())
    assert list(densevit.predict(predictor, folder, out, **predict).written) == [folder / "one"]
    assert len(files_below(out / "one")) == 11


def test_a_damaged_frame_fails_its_video_and_leaves_nothing_half(folder, tmp_path, save):
    (folder / "one" / "007.png").write_bytes(b"no picture")
    save(folder / "two" / "0.png", np.zeros((8, 8, 3), np.uint8))
    report = densevit.predict(clip_predictor(), folder, tmp_path / "out", progress=False)
    assert list(report.failed) == [folder / "one"]
    assert "007.png" in report.failed[folder / "one"]
    assert files_below(tmp_path / "out") == ["two.json", "two/0.png"]


def test_a_model_of_pictures_sees_a_video_frame_by_frame(folder, tmp_path):
    checkpoint = save_tiny_checkpoint(tmp_path / "run" / "weights.safetensors", num_classes=3, classes=CLASSES)
    predictor = Predictor(checkpoint)
    densevit.predict(predictor, folder / "one", tmp_path / "pictures", progress=False)
    densevit.predict(predictor, folder, tmp_path / "out", video=True, progress=False)
    for name in files_below(tmp_path / "pictures"):
        assert np.array_equal(read(tmp_path / "pictures" / name), read(tmp_path / "out" / "one" / name))


def test_what_is_no_video_is_told(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no frames"):
        densevit.predict(clip_predictor(), tmp_path / "empty", tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match=r"expected a video file, a folder of frames, an array \(T, H, W, 3\)"):
        clip_predictor()(np.zeros((4, 5), np.uint8))
    with pytest.raises(ValueError, match="clips are of videos, which a model with spatial_dims=3 sees"):
        Header(model=dict(num_classes=3), clips=ClipOptions(frames=8))
