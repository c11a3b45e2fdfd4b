"""Primus: parameters of all variants, its decoder, options, and how fresh weights begin."""

from math import log

import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.backbones.primus import VARIANTS

# Of whole models of volumes with 1 channel in crops of 96 voxels and 3 classes, as dynamic_network_architectures 0.4.4
# makes them.
PARAMETERS = {
    "primus_small": 23_900_943,
    "primus_base": 93_321_203,
    "primus_medium": 146_784_123,
    "primus_large": 325_774_851,
    "primus_v2_small": 24_673_935,
    "primus_v2_base": 93_942_131,
    "primus_v2_medium": 147_377_403,
    "primus_v2_large": 326_294_403,
    "primus_v3_small": 71_110_582,
    "primus_v3_base": 149_655_870,
    "primus_v3_medium": 204_777_886,
    "primus_v3_large": 388_192_870,
}
SMALL = dict(dim=72, depth=4, num_heads=2)


def primus(name="primus_small", *, spatial_dims=3, decoder_options=None, **options):
    return densevit.create_segmentor(
        name,
        "patch_decode",
        num_classes=3,
        spatial_dims=spatial_dims,
        in_channels=1,
        backbone_options=options,
        decoder_options=decoder_options,
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_has_the_parameters_of_its_package(name):
    with torch.device("meta"):
        model = primus(name)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    assert model.divisor == (1, 1, 1)


def test_the_decoder_may_have_other_widths_and_cells():
    model = primus(**SMALL, image_size=32, patch_size=(4, 8, 8), decoder_options=dict(dims=(32, 16))).eval()
    assert [up.weight.shape[:2] for up in model.head.ups] == [(72, 32), (32, 16), (16, 3)]
    with torch.inference_mode():
        assert model(torch.randn(1, 1, 6, 17, 20)).shape == (1, 3, 6, 17, 20)


def test_a_pyramid_joins_the_decoder_on_its_way():
    torch.manual_seed(0)
    model = densevit.create_segmentor("mit_b0", "patch_decode", num_classes=3).eval()
    assert model.head.joining == [2, 1, 0, None, None]
    image = torch.randn(1, 3, 75, 93)
    levels = model.forward_levels(image)
    x = levels[3]
    for up, norm, join, level in zip(model.head.ups, model.head.norms, model.head.joins, [2, 1, 0, None], strict=False):
        x = up(x)
        if level is not None:
            size = levels[level].shape[2:]
            x = x[..., : size[0], : size[1]] + join(levels[level])
        x = F.gelu(norm(x.movedim(1, -1))).movedim(-1, 1)
    torch.testing.assert_close(model(image), model.head.ups[4](x)[..., :75, :93])


@pytest.mark.parametrize("dims", [(8,), (8, 8, 8)])
def test_another_number_of_widths_than_steps_is_refused(dims):
    with pytest.raises(ValueError, match="dims must be 2 widths, one between two steps, got"):
        primus(**SMALL, image_size=32, decoder_options=dict(dims=dims))


def test_a_stem_of_another_stride_is_refused():
    with pytest.raises(ValueError, match=r"patch_size=4 is not the stride of stem_dims=\(8, 8, 8, 8\); leave it out"):
        primus(**SMALL, image_size=32, patch_size=4, stem_dims=(8, 8, 8, 8))


def test_branches_begin_smaller_the_deeper_they_are_and_every_class_equally_likely():
    torch.manual_seed(0)
    model = primus(**SMALL, image_size=32)
    blocks = [block for stage in model.backbone.stages for block in stage.blocks]
    for i, block in enumerate(blocks, start=1):
        for layer in (block.attn.proj, block.mlp.w3):
            assert layer.weight.std().item() == pytest.approx(0.02 / (2 * i) ** 0.5, rel=0.05)
    loss = F.cross_entropy(model(torch.randn(1, 1, 32, 32, 32)), torch.zeros(1, 32, 32, 32, dtype=torch.long))
    assert loss.item() == pytest.approx(log(3), abs=0.1)


@pytest.mark.parametrize("stem", [None, (4, 8, 8, 16)])
def test_registers_stand_before_the_grid_and_windows_of_a_volume_are_joined(stem):
    model = primus(**SMALL, image_size=16, num_registers=2, stem_dims=stem, skips=stem is not None).eval()
    volume = torch.randn(1, 16, 19, 24)
    found = model.backbone.features(volume[None])
    assert found.registers.shape == (1, 2, 72)
    assert found.maps[-1].shape == (1, 72, 2, 3, 3)
    assert densevit.sliding_window(model, volume, roi_size=(16, 16, 16)).shape == (3, 16, 19, 24)


@pytest.mark.parametrize("name", ["primus_small", "primus_v3_small"])
def test_dropped_tokens_are_seen_by_none_in_training_and_leave_as_zeros(name):
    torch.manual_seed(0)
    options = dict(image_size=32, num_registers=2, taps=(1, 3), norm="all", **SMALL)
    if name == "primus_v3_small":
        options["stem_dims"] = (4, 8, 8, 16)
    model = densevit.create_backbone(name, spatial_dims=3, in_channels=1, token_drop=0.6, **options).train()
    volume, seen = torch.randn(3, 1, 16, 24, 32), []
    model.stages[0].downsample.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        found = model(volume)
        model.eval()(volume)
    dropped, whole = seen
    assert dropped.kept.shape == (3, int(2 * 3 * 4 * 0.4))
    assert len({tuple(sorted(kept.tolist())) for kept in dropped.kept}) == 3
    for image, kept in enumerate(dropped.kept.tolist()):
        tokens = whole.values[image, [0, 1, *(2 + cell for cell in kept)]][None]
        turns = (turn[[0, 1, *(2 + cell for cell in kept)]] for turn in (whole.relations.cos, whole.relations.sin))
        relations = whole.relations._replace(**dict(zip(("cos", "sin"), turns, strict=True)))
        for level, stage, norm in zip(found, model.stages, model.out_norms, strict=True):
            for block in stage.blocks:
                tokens = block(dropped._replace(values=tokens, relations=relations)).values
            expected = torch.zeros(2 * 3 * 4, 72)
            expected[kept] = norm(tokens)[0, 2:]
            torch.testing.assert_close(level[image].flatten(1).mT, expected)


def test_no_token_is_dropped_where_a_model_is_not_trained_and_wrong_shares_are_refused():
    model = primus(**SMALL, image_size=32, token_drop=0.5)
    plain = primus(**SMALL, image_size=32)
    plain.load_state_dict(model.state_dict())
    volume = torch.randn(1, 1, 16, 16, 24)
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(volume), plain.eval()(volume), rtol=0, atol=0)
    model.train()(volume).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    with pytest.raises(ValueError, match="from 0 to below 1, got 1"):
        primus(**SMALL, token_drop=1.0)
