"""Primus against its package, and against timm's blocks where the package is not installed: logits of whole models."""

import pytest
import torch

import densevit
from densevit.weights import to_ours, to_stages
from tools.peers.common import copy_weights, largest_difference, picture, randomize
from tools.peers.primus import STEMS, Primus, package_primus

pytestmark = pytest.mark.parity

SMALL = dict(embed_dim=72, eva_depth=2, eva_numheads=2, num_classes=3)
SMALL_OURS = dict(dim=72, depth=2, num_heads=2, taps=(0, 1))
NAMES = {1: "primus_small", 2: "primus_v2_small", 3: "primus_v3_small"}
SOURCES = {1: "nnunet_primus", 2: "nnunet_primus_v2", 3: "nnunet_primus_v2"}
SIZES = [(16, 24, 32), (24, 8, 8)]


def primus(version, size, *, num_classes=3, **options):
    if version > 1:
        options["stem_dims"] = STEMS[version]
    return densevit.create_segmentor(
        NAMES[version],
        "patch_decode",
        num_classes=num_classes,
        spatial_dims=3,
        in_channels=1,
        backbone_options=dict(image_size=size, **options),
    )


def error(ours, theirs, image):
    with torch.inference_mode():
        expected, logits = theirs.eval()(image), ours.eval()(image)
    return largest_difference(logits, expected) / expected.abs().max().item()


@pytest.mark.parametrize("build", [Primus, package_primus])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_logits_equal_those_of_the_reference_in_single_and_double_precision(version, size, build):
    theirs = randomize(build(version, size, **SMALL))
    ours = copy_weights(theirs, primus(version, size, **SMALL_OURS), source=SOURCES[version])
    image = picture(*size, channels=1)
    assert error(ours, theirs, image) <= 1e-5
    assert error(ours.double(), theirs.double(), image.double()) <= 1e-10


def test_in_double_precision_a_training_step_has_the_gradients_of_the_reference():
    size = (8, 16, 16)
    theirs = randomize(Primus(3, size, **SMALL)).double().train()
    ours = copy_weights(theirs, primus(3, size, **SMALL_OURS).double(), source=SOURCES[3]).train()
    image = picture(*size, channels=1).double()
    for model in (theirs, ours):
        model(image).square().mean().backward()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(parameter.grad)
    expected = copy_weights(theirs, primus(3, size, **SMALL_OURS).double(), source=SOURCES[3])
    for (name, a), (_, b) in zip(ours.named_parameters(), expected.named_parameters(), strict=True):
        assert largest_difference(a.grad, b) <= 1e-10 * max(b.abs().max().item(), 1), name


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_image_of_any_size_is_filled_up_and_its_logits_are_cut_back(version):
    padded, size = (16, 24, 32), (15, 17, 32)
    theirs = randomize(Primus(version, padded, **SMALL))
    ours = copy_weights(theirs, primus(version, padded, **SMALL_OURS), source=SOURCES[version]).eval()
    image = torch.zeros(1, 1, *padded)
    near = (..., *(slice(n) for n in size))
    image[near] = picture(*size, channels=1)
    with torch.inference_mode():
        expected = theirs.eval()(image)[near]
        assert largest_difference(ours(image[near]), expected) / expected.abs().max().item() <= 1e-5


def test_registers_are_those_of_the_package_with_their_rows_of_the_table_added():
    size = (16, 24, 16)
    theirs = randomize(package_primus(1, size, num_register_tokens=4, **SMALL))
    ours = primus(1, size, num_registers=4, **SMALL_OURS)
    first = theirs.register_tokens.data + theirs.eva.pos_embed.data[:, :4]
    theirs.eva.pos_embed.data = theirs.eva.pos_embed.data[:, 4:]
    state = {name: t for name, t in theirs.state_dict().items() if name != "register_tokens"}
    translated = to_stages(to_ours(state, "nnunet_primus").state, list(ours.state_dict()))
    ours.load_state_dict({**translated, "backbone.stages.0.downsample.position.tokens.reg_token": first})
    theirs.eva.pos_embed.data = torch.cat([torch.zeros_like(first), theirs.eva.pos_embed.data], dim=1)
    theirs.register_tokens.data = first
    assert error(ours, theirs, picture(*size, channels=1)) <= 1e-5
