"""Pictures of tokens: bright where a token looked, one row a level."""

import numpy as np
import pytest
import torch
from PIL import Image

import densevit
from densevit.report.tokens import overlay_map, token_sheet

IMAGE = np.full((40, 60, 3), 100, np.uint8)


def one_hot_map(*size, at):
    weights = np.zeros(size)
    weights[at] = 1
    return weights


def test_the_place_a_token_looked_at_is_bright_and_the_rest_dark():
    drawn = overlay_map(IMAGE, one_hot_map(4, 6, at=(1, 2))).astype(int).sum(axis=-1)
    assert drawn.shape == (40, 60)
    inside = np.zeros((40, 60), bool)
    inside[10:20, 20:30] = True
    assert drawn[inside].min() > 2 * drawn[~inside].max()


def test_a_map_that_is_finer_than_the_image_or_no_divisor_of_it_is_stretched_too():
    for size in ((80, 120), (7, 9), (1, 1)):
        assert overlay_map(IMAGE[..., 0], np.full(size, 1 / np.prod(size))).shape == (40, 60, 3)


def test_a_sheet_has_a_row_a_level_and_a_column_a_token(tmp_path):
    def size(maps):
        with Image.open(token_sheet(IMAGE, maps, tmp_path / "sheet.png")) as picture:
            return picture.size

    maps = [np.random.default_rng(0).random((count, 4, 6)) for count in (3, 3)]
    width, height = size(maps)
    assert size([*maps, *maps]) == (width, pytest.approx(2 * height, abs=2))
    assert size([np.concatenate([level] * 2) for level in maps])[0] > 1.5 * width
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_the_maps_of_a_decoder_can_be_drawn(tmp_path):
    model = densevit.create_segmentor("mit_b0", "vt_fpn", num_classes=2, decoder_options=dict(dim=16)).eval()
    with torch.inference_mode():
        maps = model.decoder.token_maps(model.forward_features(torch.randn(2, 3, 40, 60)))
    path = token_sheet(IMAGE, [level[0].numpy() for level in maps], tmp_path / "tokens.png")
    with Image.open(path) as picture:
        assert np.asarray(picture.convert("RGB")).std() > 10


@pytest.mark.parametrize(
    ("image", "maps", "message"),
    [
        (IMAGE / 255, [np.ones((2, 4, 6))], "expected an image .* of uint8, got float64"),
        (IMAGE, [], "expected maps"),
        (IMAGE, [np.ones((1, 2, 4, 6))], r"got shapes \[\(1, 2, 4, 6\)\]; of a batch, give one sample"),
    ],
)
def test_what_cannot_be_drawn_is_refused(image, maps, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        token_sheet(image, maps, tmp_path / "sheet.png")
    assert list(tmp_path.iterdir()) == []
