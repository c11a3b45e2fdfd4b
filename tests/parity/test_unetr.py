"""UNETR and Swin UNETR, whole, against MONAI: logits, decoders, parameters, every order of merging."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from tools.peers.common import copy_weights, largest_difference, picture, randomize
from tools.peers.unetr import monai_swin_unetr, monai_unetr, swin_unetr, unetr

pytestmark = pytest.mark.parity

SMALL = dict(hidden_size=48, mlp_dim=192, num_heads=4)  # theirs
SMALL_OURS = dict(dim=48, num_heads=4)
SWIN_UNETR = {"swin_unetr_tiny": 12, "swin_unetr_small": 24, "swin_unetr_base": 48}


def error(ours, theirs, image):
    """Largest difference of logits, as a part of the largest logit."""
    with torch.inference_mode():
        expected, logits = theirs(image), ours(image)
    return largest_difference(logits, expected) / expected.abs().max().item()


def num_parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("patches", ["perceptron", "conv"])
@pytest.mark.parametrize("size", [(32, 48, 16), (96, 64)], ids=str)
def test_logits_of_unetr_equal_those_of_monai(patches, size):
    theirs = randomize(monai_unetr(size, proj_type=patches, **SMALL))
    ours = copy_weights(theirs, unetr(size, **SMALL_OURS), source="monai_vit")
    assert error(ours, theirs, picture(*size, channels=1)) <= 1e-5


def test_a_wider_unetr_equals_that_of_monai():
    theirs = randomize(monai_unetr((16, 32, 16), feature_size=24, **SMALL))
    ours = copy_weights(theirs, unetr((16, 32, 16), decoder_options=dict(dim=24), **SMALL_OURS), source="monai_vit")
    assert error(ours, theirs, picture(16, 32, 16, channels=1)) <= 1e-5


@pytest.mark.parametrize("size", [(16, 32, 16), (96, 64)], ids=str)
def test_in_double_precision_unetr_is_equal_to_twelve_digits(size):
    theirs = randomize(monai_unetr(size, **SMALL)).double()
    ours = copy_weights(theirs, unetr(size, **SMALL_OURS).double(), source="monai_vit")
    assert error(ours, theirs, picture(*size, channels=1).double()) <= 1e-12


@pytest.mark.slow
def test_unetr_as_published_equals_that_of_monai():
    size = (96, 96, 96)
    theirs = randomize(monai_unetr(size, proj_type="conv"))
    ours = copy_weights(theirs, unetr(size), source="monai_vit")
    assert error(ours, theirs, picture(*size, channels=1)) <= 1e-5


@pytest.mark.parametrize("patches", ["perceptron", "conv"])
def test_unetr_has_the_parameters_of_monais_that_are_used(patches):
    with torch.device("meta"):
        ours = num_parameters(unetr((96, 96, 96)))
        theirs = monai_unetr((96, 96, 96), proj_type=patches)
    unused = sum(p.numel() for name, p in theirs.named_parameters() if ".norm_cross_attn." in name)
    assert (num_parameters(theirs), unused) == (92_802_478, 18_432)
    assert ours == 92_802_478 - 18_432


@pytest.mark.parametrize(
    ("merge_order", "size"),
    [("fixed", (64, 96, 32)), ("legacy", (64, 32, 32)), ("v2", (32, 64, 32))],
    ids=str,
)
def test_logits_of_swin_unetr_equal_those_of_monai(merge_order, size):
    theirs = randomize(monai_swin_unetr(12, merge_order=merge_order))
    ours = copy_weights(theirs, swin_unetr(merge_order=merge_order), source="monai_swin_unetr")
    assert error(ours, theirs, picture(*size, channels=1)) <= 1e-5


def test_logits_of_swin_unetr_of_pictures_equal_those_of_monai():
    theirs = randomize(monai_swin_unetr(24, spatial_dims=2))
    ours = copy_weights(theirs, swin_unetr("swin_unetr_small", spatial_dims=2), source="monai_swin_unetr")
    assert error(ours, theirs, picture(96, 160, channels=1)) <= 1e-5


@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (64, 32)), (3, (32, 32, 64))])
def test_in_double_precision_swin_unetr_is_equal_to_twelve_digits(spatial_dims, size):
    theirs = randomize(monai_swin_unetr(12, spatial_dims=spatial_dims)).double()
    ours = copy_weights(theirs, swin_unetr(spatial_dims=spatial_dims).double(), source="monai_swin_unetr")
    assert error(ours, theirs, picture(*size, channels=1).double()) <= 1e-12


@pytest.mark.parametrize("wrong", ["legacy", "v2"])
def test_weights_with_another_order_of_merging_load_as_well_and_give_other_logits(wrong):
    theirs = randomize(monai_swin_unetr(12))
    ours = copy_weights(theirs, swin_unetr(merge_order=wrong), source="monai_swin_unetr")
    assert error(ours, theirs, picture(32, 32, 64, channels=1)) > 1e-3


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("swin_unetr_tiny", 4_078_220), ("swin_unetr_small", 15_703_304), ("swin_unetr_base", 62_187_296)],
)
def test_swin_unetr_has_as_many_parameters_as_monais(name, parameters):
    with torch.device("meta"):
        assert num_parameters(swin_unetr(name)) == parameters
    assert num_parameters(monai_swin_unetr(SWIN_UNETR[name])) == parameters


@pytest.mark.slow
@pytest.mark.parametrize("name", ["swin_unetr_small", "swin_unetr_base"])
def test_the_larger_swin_unetrs_equal_those_of_monai(name):
    theirs = randomize(monai_swin_unetr(SWIN_UNETR[name]))
    ours = copy_weights(theirs, swin_unetr(name), source="monai_swin_unetr")
    assert error(ours, theirs, picture(32, 64, 32, channels=1)) <= 1e-5


@pytest.mark.parametrize("kind", ["unetr", "swin_unetr"])
def test_in_double_precision_a_training_step_has_the_gradients_of_monais(kind):
    if kind == "unetr":
        size, theirs = (16, 32, 16), monai_unetr((16, 32, 16), classes=2, **SMALL)
        build = partial(unetr, size, classes=2, **SMALL_OURS)
    else:
        size, theirs = (32, 64), monai_swin_unetr(12, classes=2, spatial_dims=2)
        build = partial(swin_unetr, classes=2, spatial_dims=2)
    theirs = randomize(theirs).double().train()
    ours = copy_weights(theirs, build().double(), source="monai").train()
    image = picture(*size, channels=1).double()
    label = torch.randint(2, (1, *size), generator=torch.Generator().manual_seed(1))
    for model in (theirs, ours):
        F.cross_entropy(model(image), label).backward()
    for name, parameter in theirs.named_parameters():
        assert (parameter.grad is None) == (".norm_cross_attn." in name)
        parameter.data = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    expected = copy_weights(theirs, build().double(), source="monai")  # gradients go through the key map like values
    for (name, a), (_, b) in zip(ours.named_parameters(), expected.named_parameters(), strict=True):
        assert largest_difference(a.grad, b) <= 1e-10, name
