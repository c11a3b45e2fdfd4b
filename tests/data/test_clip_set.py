"""Clips as samples: frames around a labelled one, changed alike, and whole videos to be scored on."""

import numpy as np
import pytest
import torch

from densevit.data import create_dataset
from densevit.data.augment.clip_options import ClipAugmentOptions
from densevit.data.stream import EvalSet, TrainStream
from densevit.labels import IGNORE
from densevit.pictures.video_file import writing_video


@pytest.fixture
def clip_set(tmp_path, save):
    """JPEGImages/{a, b} of eleven frames, each of one grey but for a bright left half; labels of 0, 5 and 10 of b."""
    for video in "ab":
        for number in range(11):
            frame = np.full((16, 20, 3), 10 * number, np.uint8)
            frame[:, :10] += 100
            save(tmp_path / "JPEGImages" / video / f"{number:05}.png", frame)
            if video == "a" or number % 5 == 0:
                label = np.zeros((16, 20), np.uint8)
                label[:, :10] = 255
                save(tmp_path / "Annotations" / video / f"{number:05}.png", label)
    return dict(type="clips", root=str(tmp_path), classes=["other", "car"], label_map={255: 1}, ignore_index="none")


def test_a_video_is_scored_whole_and_frames_without_label_are_ignored(clip_set):
    dataset = create_dataset(dict(clip_set, num_frames=4))
    assert (len(dataset), dataset.spatial_dims, dataset.clips.frames) == (2, 3, 4)
    assert dataset.check().counts.tolist() == [[11 * 160] * 2, [3 * 160] * 2]
    sample = EvalSet(dataset)[1]
    assert (tuple(sample.image.shape), tuple(sample.label.shape)) == ((3, 11, 16, 20), (11, 16, 20))
    assert [number for number in range(11) if (sample.label[number] != IGNORE).all()] == [0, 5, 10]
    assert (sample.label != IGNORE).flatten(1).any(1).sum() == 3
    shown = dataset.shown(sample, torch.zeros(11, 16, 20, dtype=torch.int64))
    assert (shown.image[0, 0, 0], shown.label[0, 0]) == (150, 1)  # frame 5


@pytest.mark.parametrize(("frames", "step"), [(4, 1), (3, 2), (8, 4)])
def test_a_clip_holds_a_labelled_frame_and_its_frames_are_changed_alike(clip_set, frames, step):
    dataset = create_dataset(dict(clip_set, num_frames=frames, frame_step=step))
    augment = ClipAugmentOptions(crop_size=(12, 16), photometric=True).create(fill=dataset.fill)
    stream, flipped = TrainStream(dataset, augment, seed=0), set()
    for draw in range(8):
        sample = stream[draw]
        assert tuple(sample.image.shape) == (3, frames, 12, 16)
        labelled = (sample.label != IGNORE).flatten(1).any(1)
        assert labelled.any()
        maps = sample.label[labelled]
        assert (maps == maps[0]).all()
        flipped.add(bool(maps[0, 0, 0]))
        gaps = sample.image[0, :, 0, 0].diff()  # each grey is as much brighter as the one before
        whole = gaps[gaps > 1e-4]
        assert len(whole) == len(gaps) or (frames - 1) * step > 10
        if len(whole) > 1 and sample.image.abs().max() < 1.9:  # where no colour was clipped
            assert whole.max() - whole.min() < 0.04
    assert flipped == {True, False}


def test_videos_are_split_by_name_and_by_number(clip_set, tmp_path):
    (tmp_path / "train.txt").write_text("b\n")
    assert create_dataset(dict(clip_set, split_file="{split}.txt")).names == [str(tmp_path / "JPEGImages" / "b")]
    assert create_dataset(dict(clip_set, val_every=2, split="val")).names == [str(tmp_path / "JPEGImages" / "a")]
    assert not create_dataset(dict(clip_set, labels=None)).has_labels


def test_what_does_not_fit_is_told(clip_set, tmp_path, save):
    with pytest.raises(ValueError, match=r"0 and 255 \(first .*white as class 1"):
        create_dataset({key: value for key, value in clip_set.items() if key not in ("label_map", "ignore_index")})
    save(tmp_path / "Annotations" / "b" / "00003.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match=r"00003.png is 8 x 8 and its frame 00003 of .*b is 20 x 16"):
        create_dataset(clip_set)
    save(tmp_path / "Annotations" / "b" / "x.png", np.zeros((16, 20), np.uint8))
    with pytest.raises(ValueError, match=r"x.png is the label of no frame of .*b, whose frames .* 00000 to 00010"):
        create_dataset(clip_set)
    (tmp_path / "train.txt").write_text("c\n")
    with pytest.raises(ValueError, match=r"names 'c', and the videos in .* are a, b"):
        create_dataset(dict(clip_set, split_file="train.txt"))


def test_frames_of_a_video_file_are_called_by_their_numbers(tmp_path, save):
    (tmp_path / "JPEGImages").mkdir()
    with writing_video(tmp_path / "JPEGImages" / "drive.mp4", size=(16, 20), fps=10) as put:
        for number in range(6):
            put(np.full((16, 20, 3), 40 * number, np.uint8))
    save(tmp_path / "Annotations" / "drive" / "000004.png", np.ones((16, 20), np.uint8))
    dataset = create_dataset(dict(type="clips", root=str(tmp_path), classes=["a", "b"], num_frames=2))
    sample = dataset[0]
    assert [int(frame.mean()) for frame in sample.image.swapaxes(0, 1)] == pytest.approx(range(0, 240, 40), abs=4)
    assert (sample.label[4] == 1).all()
    assert (sample.label[[0, 1, 2, 3, 5]] == IGNORE).all()
