"""What a backbone computes beside its maps: class and register tokens, a pooled vector, the maps of any block."""

import pytest
import torch
from torch import nn

import densevit

SIZE = (37, 50)
WITH_TOKENS = {
    "vit_tiny": dict(depth=4, num_tokens=2, num_registers=3),
    "pvt_v1_tiny": dict(class_token=True),
    "mvit_v2_tiny": dict(class_token=True),
}


def small(name, spatial_dims=2, **options):
    torch.manual_seed(0)
    return densevit.create_backbone(name, spatial_dims=spatial_dims, in_channels=1, **options).eval()


def image(spatial_dims=2):
    return torch.randn(2, 1, *(20, *SIZE)[-spatial_dims:], generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["mit_b0", "swin_tiny", "swin_unetr_tiny", "mvit_v1_base", *WITH_TOKENS])
@pytest.mark.parametrize("spatial_dims", [2, 3])
@torch.inference_mode()
def test_the_maps_of_the_features_are_those_of_the_plain_forward(name, spatial_dims):
    backbone, x = small(name, spatial_dims, **WITH_TOKENS.get(name, {})), image(spatial_dims)
    maps, found = backbone(x), backbone.features(x)
    assert len(maps) == len(found.maps)
    assert all(torch.equal(a, b) for a, b in zip(maps, found.maps, strict=True))


@pytest.mark.parametrize("name", WITH_TOKENS)
@torch.inference_mode()
def test_the_pooled_vector_is_the_class_token(name):
    backbone = small(name, **WITH_TOKENS[name])
    found = backbone.features(image())
    assert found.class_token.shape == (2, backbone.out_channels[-1])
    assert torch.equal(found.pooled, found.class_token)
    assert not torch.equal(found.class_token, found.maps[-1].flatten(2).mean(2))


@torch.inference_mode()
def test_without_a_class_token_the_pooled_vector_is_the_mean_of_the_last_map():
    found = small("mit_b0").features(image())
    assert found.class_token is None
    assert found.registers is None
    torch.testing.assert_close(found.pooled, found.maps[-1].mean((2, 3)))


@torch.inference_mode()
def test_registers_are_as_many_as_were_asked_for_and_change_the_maps():
    found, without = (small("vit_tiny", depth=4, num_tokens=1, num_registers=n).features(image()) for n in (3, 0))
    assert found.registers.shape == (2, 3, 192)
    assert without.registers is None
    assert found.maps[-1].shape == without.maps[-1].shape


@torch.inference_mode()
def test_blocks_are_counted_through_all_stages_with_or_without_the_norm():
    backbone, x, outputs = small("mit_b0"), image(), []
    for stage in backbone.stages:
        for block in stage.blocks:
            block.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    plain = backbone.features(x, blocks=[1, 2, 7], norm=False)
    expected = [outputs[i] for i in (1, 2, 7)]
    assert all(torch.equal(a, b.movedim(-1, 1)) for a, b in zip(plain.maps, expected, strict=True))
    normed = backbone.features(x, blocks=[2])
    torch.testing.assert_close(normed.maps[0], backbone.stages[1].norm(expected[1]).movedim(-1, 1))


@torch.inference_mode()
def test_every_block_of_a_plain_vit_passes_its_norm_where_the_model_norms_all():
    backbone, x = small("vit_tiny", depth=4, num_tokens=1, norm="all"), image()
    norm = next(module for module in backbone.out_norms if isinstance(module, nn.LayerNorm))
    bare, normed = (backbone.features(x, blocks=range(4), norm=asked).levels for asked in (False, True))
    for a, b in zip(bare, normed, strict=True):
        assert torch.equal(norm(a.values), b.values)


@pytest.mark.parametrize("blocks", [[], [8], [-1]])
def test_blocks_that_are_not_there_are_refused(blocks):
    with pytest.raises(ValueError, match="blocks must be some of 0 to 7, got"):
        small("mit_b0").features(image(), blocks=blocks)


def test_a_block_that_its_stages_norm_does_not_fit_is_refused_unless_left_bare():
    backbone = small("mvit_v1_base")
    with pytest.raises(ValueError, match="a block of stage 1 gives 192 channels and the norm of its end takes 384"):
        backbone.features(image(), blocks=[1])
    assert backbone.features(image(), blocks=[1], norm=False).maps[0].shape[1] == 192


def test_gradients_reach_class_and_register_tokens():
    backbone = small("vit_tiny", depth=4, num_tokens=1, num_registers=2).train()
    backbone.set_checkpointing()
    found = backbone.features(image())
    (found.class_token.square().sum() + found.registers.square().sum()).backward()
    tokens = backbone.stages[0].downsample.position.tokens
    assert tokens.cls_token.grad.abs().sum() > 0
    assert (tokens.reg_token.grad.abs().sum(-1) > 0).all()
