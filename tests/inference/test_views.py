from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from densevit.blocks import nd
from densevit.inference import on_whole_cells, predict_logits, sliding_window
from tests.inference.common import Recorder, make_image, make_network
from tools.peers import import_mmseg

SIZES = [(24, 31), (9, 12, 11)]


def mean_of_views(see, image, flips, scales):
    """The definition, written out: softmax of every view, brought back to the image's grid, averaged."""
    mode = "bilinear" if image.ndim == 3 else "trilinear"
    probabilities = []
    for scale in scales:
        size = [int(s * scale + 0.5) for s in image.shape[1:]]
        scaled = F.interpolate(image[None], size=size, mode=mode)[0]
        for axes in [(), *flips]:
            channels_first = [a + 1 if a >= 0 else a for a in axes]
            logits = see(scaled.flip(channels_first)).flip(channels_first)
            probabilities.append(F.interpolate(logits[None], size=image.shape[1:], mode=mode)[0].softmax(0))
    return torch.stack(probabilities).mean(0)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_one_view_of_the_whole_image_gives_the_networks_own_logits(size):
    network, image = make_network(len(size)), make_image(size)
    assert torch.equal(predict_logits(network, image), network(image[None])[0])


@pytest.mark.parametrize("batch_size", [1, 2, 100])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 1.3)], ids=str)
@pytest.mark.parametrize("flips", [(-1,), ((0,), (-1,), (0, 1))], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_several_views_give_the_log_of_their_mean_probability(size, flips, scales, batch_size):
    network, image = make_network(len(size)), make_image(size)
    logits = predict_logits(network, image, flips=flips, scales=scales, batch_size=batch_size)
    as_tuples = [(flip,) if isinstance(flip, int) else flip for flip in flips]
    expected = mean_of_views(lambda x: network(x[None])[0], image, as_tuples, scales)
    assert_close(logits.exp(), expected, rtol=0, atol=1e-5)
    assert_close(logits.softmax(0), expected, rtol=0, atol=1e-5)


def test_slide_mode_averages_windows_on_mmsegs_grid_for_every_view():
    network, image = make_network(2), make_image((24, 31))
    windows = dict(roi_size=(16, 12), stride=(10, 9))

    def see(view):
        return sliding_window(network, view, **windows, blend="constant", grid="mmseg")

    one = predict_logits(network, image, mode="slide", **windows)
    assert_close(one, see(image))
    several = predict_logits(network, image, mode="slide", **windows, flips=(-1,), scales=(0.75, 1.0), batch_size=3)
    assert_close(several.exp(), mean_of_views(see, image, [(-1,)], (0.75, 1.0)), rtol=0, atol=1e-5)


def test_slide_gaussian_blends_windows_on_an_even_grid():
    network, image = make_network(3), make_image((9, 12, 11))
    windows = dict(roi_size=(6, 8, 5), stride=(3, 5, 4))
    expected = sliding_window(network, image, **windows, blend="gaussian", grid="even")
    assert_close(predict_logits(network, image, mode="slide_gaussian", **windows), expected)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:The shape of value will convert")
def test_views_are_merged_as_mmseg_merges_them():
    import_mmseg()
    from mmengine.structures import PixelData
    from mmseg.models import SegTTAModel
    from mmseg.structures import SegDataSample

    network, image = make_network(2), make_image((24, 31))
    views = [network(image[None])[0], network(image.flip(-1)[None])[0].flip(-1)]
    samples = [SegDataSample(seg_logits=PixelData(data=x), metainfo=dict(img_path="")) for x in views]
    tta = SimpleNamespace(module=SimpleNamespace(out_channels=5))
    (merged,) = SegTTAModel.merge_preds(tta, [samples])
    ours = predict_logits(network, image, flips=(-1,))
    assert torch.equal(ours.argmax(0), merged.pred_sem_seg.data[0])


def test_views_of_one_shape_run_in_one_batch():
    network = Recorder(make_network(2))
    predict_logits(network, make_image((24, 31)), flips=(0, 1, (0, 1)), scales=(1.0, 2.0), batch_size=4)
    assert network.shapes == [(4, 2, 24, 31), (4, 2, 48, 62)]


def test_a_class_that_no_view_expects_keeps_finite_logits():
    logits = predict_logits(lambda x: torch.cat([x + 1e4, x - 1e4], 1), torch.zeros(1, 4, 5), flips=(-1,))
    assert logits.isfinite().all()
    assert (logits.argmax(0) == 0).all()


def test_half_precision_logits_come_back_in_float32():
    network, image = make_network(2), make_image((24, 31))
    for flips in ((), (-1,)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert predict_logits(network, image, flips=flips).dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(mode="slides"), "no mode named 'slides'; did you mean slide"),
        (dict(mode="slide"), "mode='slide' needs the size of its windows; give roi_size"),
        (dict(mode="slide_gaussian"), "mode='slide_gaussian' needs the size of its windows"),
        (dict(flips=(2,)), "flips must name spatial axes, -2 to 1, each once, got 2"),
        (dict(flips=((0, 5),)), r"flips must name spatial axes, -2 to 1, each once, got \(0, 5\)"),
        (dict(flips=((0, -2),)), r"flips must name spatial axes, -2 to 1, each once, got \(0, -2\)"),
        (dict(scales=()), r"scales must be positive factors of the image size, got \(\)"),
        (dict(scales=(1.0, 0.0)), "scales must be positive"),
        (dict(batch_size=0), "batch_size must be at least 1, got 0"),
    ],
    ids=str,
)
def test_wrong_options_are_explained_before_the_network_runs(options, message):
    with pytest.raises(ValueError, match=message):
        predict_logits(pytest.fail, make_image((24, 31)), **options)


def test_several_views_of_one_class_are_refused():
    with pytest.raises(ValueError, match="averaged by softmax, which needs at least 2 classes, got 1"):
        predict_logits(lambda x: x, torch.zeros(1, 4, 5), flips=(-1,))


@pytest.mark.parametrize("size", [(24, 31), (9, 33, 30)], ids=str)
def test_a_model_on_whole_cells_sees_multiples_of_the_divisor_and_answers_at_the_images_size(size):
    seen = []

    def network(x):
        seen.append(tuple(x.shape[2:]))
        return x * 2

    image = make_image(size)
    logits = on_whole_cells(network, 8)(image[None])
    assert_close(logits[0], image * 2)
    assert seen == [tuple(-(-s // 8) * 8 for s in size)]


def test_a_coarse_map_lies_where_it_was_made_only_on_whole_cells():
    """A network of one map of stride 8 marks the cell of a bright pixel; the image ends within the last cell."""

    def network(x):
        cells = F.max_pool2d(x, 8, ceil_mode=True)
        return nd.resize(cells, x.shape[2:])

    image = torch.zeros(1, 1, 26, 26)
    image[..., 17, 17] = 1

    def mean_row(logits):
        weights = logits[0, 0].sum(1)
        return (weights @ torch.arange(26.0) / weights.sum()).item()

    assert mean_row(on_whole_cells(network, 8)(image)) == pytest.approx(19.5, abs=0.5)  # the middle of rows 16 to 23
    assert mean_row(network(image)) == pytest.approx(15.75, abs=0.5)
