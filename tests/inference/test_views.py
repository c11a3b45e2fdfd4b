import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from densevit.blocks import nd
from densevit.inference import on_whole_cells, predict_logits, sliding_window
from tests.inference.common import Recorder, make_image, make_network

SIZES = [(24, 31), (9, 12, 11)]


def mean_of_views(see, images, flips, scales):
    """The definition, written out: the logits of every view, brought back to the images' grid, averaged."""
    mode, size = "bilinear" if images.ndim == 4 else "trilinear", images.shape[2:]
    logits = []
    for scale in scales:
        scaled = F.interpolate(images, size=[int(s * scale + 0.5) for s in size], mode=mode)
        for axes in [(), *flips]:
            dims = [a + 2 if a >= 0 else a for a in axes]
            logits.append(F.interpolate(see(scaled.flip(dims)).flip(dims), size=size, mode=mode))
    return torch.stack(logits).mean(0)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_one_view_of_the_whole_image_gives_the_networks_own_logits(size):
    network, image = make_network(len(size)), make_image(size)
    assert torch.equal(predict_logits(network, image), network(image[None])[0])


@pytest.mark.parametrize("batch_size", [1, 2, 100])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 1.3)], ids=str)
@pytest.mark.parametrize("flips", [(-1,), ((0,), (-1,), (0, 1))], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_several_views_give_the_mean_of_their_logits(size, flips, scales, batch_size):
    network, image = make_network(len(size)), make_image(size)
    logits = predict_logits(network, image, flips=flips, scales=scales, batch_size=batch_size)
    as_tuples = [(flip,) if isinstance(flip, int) else flip for flip in flips]
    assert_close(logits, mean_of_views(network, image[None], as_tuples, scales)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_slide_mode_averages_windows_on_mmsegs_grid_each_seen_in_all_views(size):
    network, image = make_network(len(size)), make_image(size)
    windows = dict(roi_size=(16, 12, 7)[-len(size) :], stride=(10, 9, 5)[-len(size) :], blend="constant", grid="mmseg")
    named = dict(mode="slide", roi_size=windows["roi_size"], stride=windows["stride"])
    assert_close(predict_logits(network, image, **named), sliding_window(network, image, **windows))

    def see(x):
        return mean_of_views(network, x, [(-1,)], (0.75, 1.0))

    several = predict_logits(network, image, **named, flips=(-1,), scales=(0.75, 1.0), batch_size=3)
    assert_close(several, sliding_window(see, image, **windows), rtol=0, atol=1e-5)


def test_slide_gaussian_blends_windows_on_an_even_grid():
    network, image = make_network(3), make_image((9, 12, 11))
    windows = dict(roi_size=(6, 8, 5), stride=(3, 5, 4))
    expected = sliding_window(network, image, **windows, blend="gaussian", grid="even")
    assert_close(predict_logits(network, image, mode="slide_gaussian", **windows), expected)


def test_views_of_one_shape_share_forwards_of_the_batch_size():
    network = Recorder(make_network(2))
    predict_logits(network, make_image((24, 31)), flips=(0, 1, (0, 1)), scales=(1.0, 2.0), batch_size=3)
    assert network.shapes == [(3, 2, 24, 31), (1, 2, 24, 31), (3, 2, 48, 62), (1, 2, 48, 62)]


def test_half_precision_logits_come_back_in_float32():
    network, image = make_network(2), make_image((24, 31))
    for flips in ((), (-1,)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert predict_logits(network, image, flips=flips).dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            dict(mode="slides"),
            "mode must be 'whole' or 'slide' or 'slide_gaussian' or 'slide_nnunet' or .*, got 'slides'",
        ),
        (dict(mode="slide"), "mode 'slide' needs the size of its windows; give roi_size"),
        (dict(mode="slide_gaussian"), "mode 'slide_gaussian' needs the size of its windows"),
        (dict(roi_size=8), "roi_size belongs to modes 'slide', 'slide_gaussian', 'slide_nnunet', .*, but images"),
        (dict(mode="slide", roi_size=(8, 8, 8)), "roi_size must be one number for each of 2 axes"),
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


def test_one_class_is_averaged_like_several():
    image = make_image((4, 5), channels=1)
    assert_close(predict_logits(lambda x: x, image, flips=(-1, 0)), image)


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
