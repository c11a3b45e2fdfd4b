"""load_weights into models that are wrapped, empty, or no models of ours."""

import pytest
import torch
from torch import nn

import densevit
from densevit.weights import load_weights
from tests.weights.common import equal, release, segformer


@pytest.fixture
def checkpoint(tmp_path):
    """A file of SegFormer-B0 as its authors release it, and our model of the same weights."""
    model = segformer()
    torch.save(release(model, "nvlabs"), tmp_path / "segformer.pth")
    return tmp_path / "segformer.pth", model


def test_compiled_and_data_parallel_models_and_their_checkpoints_load_like_plain_ones(checkpoint, tmp_path):
    path, expected = checkpoint
    for wrap in (torch.compile, nn.DataParallel):
        model = segformer(seed=1)
        assert load_weights(wrap(model), path).complete
        assert equal(model, expected)
        torch.save(wrap(expected).state_dict(), tmp_path / "wrapped.pth")
        other = segformer(seed=2)
        assert load_weights(other, tmp_path / "wrapped.pth").complete
        assert equal(other, expected)


def test_a_model_on_the_meta_device_is_refused_instead_of_left_empty(checkpoint):
    with torch.device("meta"):
        model = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=19)
    with pytest.raises(ValueError, match=r"on the meta device.* to_empty"):
        load_weights(model, checkpoint[0])


@pytest.mark.parametrize("options", [{}, dict(adapt_channels="sum")], ids=str)
def test_a_module_that_is_neither_segmentor_nor_backbone_is_refused(checkpoint, options):
    with pytest.raises(ValueError, match=r"missing .* unexpected"):
        load_weights(segformer().decoder, checkpoint[0], **options)
