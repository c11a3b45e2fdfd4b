"""Videos of a data set are scored frame by frame: numbers of the whole video, memory of a few frames."""

import tracemalloc

import numpy as np
import pytest
import torch

import densevit
from densevit.data import create_dataset
from densevit.data.stream import EvalSet
from densevit.evaluate import evaluate
from densevit.evaluate.samples import SampleMeasurer
from densevit.metrics import MeasureOptions, measure

SIZE = (32, 40)
SMALL = dict(dim=8, depth=2, num_heads=1, image_size=32, num_frames=4, patch_size=8, taps=(0, 1))


@pytest.fixture
def open_videos(tmp_path, save):
    """Opens a set of videos of so many frames of noise, of which each third has a label."""

    def open_set(*lengths):
        rng = np.random.default_rng(0)
        root = tmp_path / "-".join(map(str, lengths))
        for video, length in enumerate(lengths):
            for number in range(length):
                save(root / "JPEGImages" / f"v{video}" / f"{number:05}.png", rng.integers(0, 256, (*SIZE, 3), np.uint8))
                if number % 3 == 0:
                    label = rng.integers(0, 2, (4, 5), np.uint8).repeat(8, 0).repeat(8, 1)
                    save(root / "Annotations" / f"v{video}" / f"{number:05}.png", label)
        return create_dataset(dict(type="clips", root=str(root), classes=["ground", "box"], num_frames=4))

    return open_set


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    options = dict(num_classes=2, spatial_dims=3, backbone_options=SMALL, decoder_options=dict(dim=8))
    return densevit.create_segmentor("timesformer_base", "all_mlp", **options).eval()


def run(model, dataset, **calls):
    return evaluate(model, EvalSet(dataset), inference={}, device=torch.device("cpu"), **calls)


@pytest.mark.parametrize("metrics", [(), ("hd95_max",)])
def test_records_of_frames_are_those_of_whole_videos(open_videos, model, metrics):
    dataset, options, found = open_videos(7, 5), MeasureOptions(metrics=metrics), {}
    measurer = SampleMeasurer(dataset, options)

    def on_prediction(sample, labels):
        assert tuple(sample.image.shape) == (3, *labels.shape) == (3, 1, *SIZE)
        measurer(sample, labels)
        found.setdefault(sample.meta["image"], []).append((sample, labels))

    evaluate_all = run(model, dataset, on_prediction=on_prediction)
    expected = []
    for index, (name, parts) in enumerate(found.items()):
        whole = EvalSet(dataset)[index]
        assert [sample.meta["frame"] for sample, _ in parts] == list(range(len(parts))) == list(range((7, 5)[index]))
        assert torch.equal(torch.cat([sample.image for sample, _ in parts], dim=1), whole.image)
        labels = torch.cat([labels for _, labels in parts])
        assert whole.meta["image"] == name
        counted = MeasureOptions(metrics=metrics, ignore_index=255)
        expected += measure(labels, whole.label, dict(ground=(0,), box=(1,)), None, counted)
    records = measurer.measured().records
    assert len(records) == len(expected) == 4
    for record, whole in zip(records, expected, strict=True):
        assert (record.structure, record.counts) == (whole.structure, whole.counts)
        assert record.values == pytest.approx(whole.values, nan_ok=True)
        assert (record.diagonal, record.voxel_volume) == (pytest.approx(whole.diagonal), whole.voxel_volume)
    assert evaluate_all.scores.mIoU == pytest.approx(np.mean([_iou(records, name) for name in ("ground", "box")]))


def _iou(records, structure):
    parts = [record.counts for record in records if record.structure == structure]
    tp, fp, fn = (sum(getattr(part, name) for part in parts) for name in ("tp", "fp", "fn"))
    return tp / (tp + fp + fn)


def test_the_labelled_frame_in_the_middle_is_shown(open_videos, model):
    dataset = open_videos(11)
    ((image, label, prediction),) = run(model, dataset, num_pictures=1).pictures
    middle = dataset[0]
    assert np.array_equal(image, middle.image[:, 6].transpose(1, 2, 0))  # of 0, 3, 6 and 9
    assert np.array_equal(label, middle.label[6])
    assert prediction.shape == SIZE


def test_a_long_video_takes_little_more_memory_than_a_short_one(open_videos, model):
    run(model, open_videos(8))  # which pays for what is made once
    peaks = []
    for length in (16, 64):
        dataset = open_videos(length)
        tracemalloc.start()
        run(model, dataset)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    whole = 64 * 4 * 3 * SIZE[0] * SIZE[1]  # as the network sees it
    assert peaks[1] - peaks[0] < whole / 2
    tracemalloc.start()
    assert EvalSet(dataset)[0].image.numel() * 4 == whole
    assert tracemalloc.get_traced_memory()[1] > whole  # which counts all of it
    tracemalloc.stop()
