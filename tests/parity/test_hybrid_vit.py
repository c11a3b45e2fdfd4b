"""Hybrid ViTs beside timm: maps of the ResNet and of the transformer, logits, and the sizes of all variants."""

from functools import partial

import pytest
import torch

import densevit
from tools.peers import import_peer
from tools.peers.common import copy_weights, largest_difference, picture, randomize

pytestmark = pytest.mark.parity


def hybrid_of_timm(depths, *, patch_size, size):
    timm = import_peer("timm")
    resnetv2, layers = timm.models.resnetv2, timm.layers
    shared = dict(preact=False, stem_type="same", conv_layer=partial(layers.StdConv2dSame, eps=1e-8))
    if depths:
        widths = dict(channels=(128, 256, 512, 1024), stem_chs=32)
        stem = resnetv2.ResNetV2(depths, num_classes=0, global_pool="", **widths, **shared)
    else:
        stem = resnetv2.create_resnetv2_stem(3, 32, **shared)
    embed = partial(layers.HybridEmbed, backbone=stem)
    shape = dict(embed_dim=48, depth=4, num_heads=3, num_classes=7)
    vit = timm.models.vision_transformer.VisionTransformer
    return randomize(vit(img_size=size, patch_size=patch_size, embed_layer=embed, **shape))


def levels_of_timm(theirs, image, depths, taps):
    """What each stage of the ResNet but the last gives, then these blocks, the last of them through the final norm."""
    if depths:
        stem = theirs.patch_embed.backbone
        fine = stem.forward_intermediates(image, intermediates_only=True)[1 : len(depths)]
    else:
        fine = [theirs.patch_embed.backbone(image)]
    get = partial(theirs.forward_intermediates, image, indices=list(taps), intermediates_only=True)
    return [*fine, *get()[:-1], get(norm=True)[-1]]


@pytest.mark.parametrize(
    ("name", "depths", "taps", "size"),
    [
        ("vit_tiny_r_s16_p8", (), (1, 2, 3), (61, 93)),
        ("vit_base_r50_s16", (1, 1, 2), (2, 3), (75, 93)),
        ("vit_small_r26_s32", (1, 2, 1, 1), (3,), (64, 96)),
        ("vit_large_r50_s32", (1, 1, 1, 1), (3,), (75, 101)),
    ],
)
def test_levels_and_logits_are_those_of_timm(name, depths, taps, size):
    theirs = hybrid_of_timm(depths, patch_size=1 if depths else 8, size=size)
    shape = dict(stem_dim=32, depths=depths, dim=48, depth=4, num_heads=3, image_size=size)
    ours = copy_weights(theirs, densevit.create_classifier(name, num_classes=7, **shape), source="timm")
    for dtype, tolerance in ((torch.float, 1e-5), (torch.double, 1e-10)):
        theirs, ours, image = theirs.to(dtype), ours.to(dtype), picture(*size).to(dtype)
        with torch.inference_mode():
            expected = [*levels_of_timm(theirs, image, depths, taps), theirs(image)]
            for a, b in zip([*ours.backbone(image), ours(image)], expected, strict=True):
                assert largest_difference(a, b) <= tolerance * b.abs().max()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float, 1e-5), (torch.double, 1e-10)], ids=str)
def test_levels_are_those_of_dpt_in_transformers(dtype, tolerance):
    transformers = import_peer("transformers")
    bit = dict(
        model_type="bit",
        embedding_size=32,
        hidden_sizes=[128, 256, 512],
        depths=[1, 1, 2],
        layer_type="bottleneck",
        global_padding="SAME",
        embedding_dynamic_padding=True,
        out_features=["stage1", "stage2", "stage3"],
    )
    shape = dict(hidden_size=48, num_hidden_layers=4, num_attention_heads=3, intermediate_size=192, image_size=64)
    hybrid = dict(is_hybrid=True, backbone_config=bit, backbone_featmap_shape=[1, 512, 4, 4], layer_norm_eps=1e-6)
    theirs = randomize(transformers.DPTModel(transformers.DPTConfig(**shape, **hybrid), add_pooling_layer=False))
    shape = dict(stem_dim=32, depths=(1, 1, 2), dim=48, depth=4, num_heads=3, image_size=64)
    ours = copy_weights(theirs, densevit.create_backbone("vit_base_r50_s16", **shape), source="huggingface_dpt_hybrid")
    theirs, ours, image = theirs.to(dtype), ours.to(dtype), picture(64, 64).to(dtype)
    with torch.inference_mode():
        found, expected = ours(image), theirs(image, output_hidden_states=True)
        tokens = (expected.hidden_states[3], expected.last_hidden_state)
        maps = [*expected.intermediate_activations, *(t[:, 1:].mT.unflatten(2, (4, 4)) for t in tokens)]
        for a, b in zip(found, maps, strict=True):
            assert largest_difference(a, b) <= tolerance * b.abs().max()


@pytest.mark.parametrize(
    ("name", "number", "strides"),
    [
        ("vit_tiny_r_s16_p8", 6_337_704, (4, 32, 32, 32)),
        ("vit_small_r26_s32", 36_431_912, (4, 8, 16, 32)),
        ("vit_base_r26_s32", 101_383_976, (4, 8, 16, 32)),
        ("vit_base_r50_s16", 98_659_112, (4, 8, 16, 16)),
        ("vit_base_r50_s16_384", 98_950_952, (4, 8, 16, 16)),
        ("vit_large_r50_s32", 328_994_856, (4, 8, 16, 32)),
    ],
)
def test_the_sizes_are_those_of_timm_with_a_thousand_classes(name, number, strides):
    with torch.device("meta"):
        ours = densevit.create_classifier(name, num_classes=1000)
    assert sum(p.numel() for p in ours.parameters()) == number
    assert ours.backbone.out_strides == strides
