"""Swin and Swin UNETR's encoder: exact sizes, levels, the 3D form, and what training asks of them."""

import copy

import pytest
import torch

import densevit
from densevit.backbones.swin import VARIANTS, swin, swin_unetr

# Of the classifier of 1000 classes, as released; a dense backbone has norms after the first three stages as well.
CLASSIFIERS = {
    "swin_tiny": 28_288_354,
    "swin_small": 49_606_258,
    "swin_base": 87_768_224,
    "swin_large": 196_532_476,
}
BACKBONES = {
    "swin_tiny": 27_520_698,
    "swin_small": 48_838_602,
    "swin_base": 86_745_016,
    "swin_large": 194_998_164,
}
# Of MONAI's encoder for one input channel, in 2D and 3D.
ENCODERS = {
    "swin_unetr_tiny": (413_070, 694_998),
    "swin_unetr_small": (1_594_290, 2_171_466),
    "swin_unetr_base": (6_306_810, 8_062_002),
}
SMALL = {2: (37, 50), 3: (17, 20, 30)}


def count(module):
    return sum(p.numel() for p in module.parameters())


def small_swin(spatial_dims=2, **options):
    torch.manual_seed(0)
    defaults = dict(dim=32, depths=(2, 2), in_channels=1, window_size=4, patch_size=2)
    return swin(spatial_dims=spatial_dims, **defaults | options)


def small_unetr(spatial_dims=2, **options):
    torch.manual_seed(0)
    return swin_unetr(spatial_dims=spatial_dims, **dict(dim=12, in_channels=1, window_size=4) | options)


FAMILIES = {"swin": small_swin, "swin_unetr": small_unetr}


@pytest.mark.parametrize("name", BACKBONES)
def test_the_sizes_are_those_of_the_release(name):
    with torch.device("meta"):
        backbone = densevit.create_backbone(name)
    last = backbone.out_channels[-1]
    assert count(backbone) == BACKBONES[name]
    assert count(backbone) - sum(count(n) for n in backbone.out_norms[:3]) == CLASSIFIERS[name] - 1000 * (last + 1)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_sizes_of_the_encoder_of_swin_unetr_are_those_of_monai(name):
    with torch.device("meta"):
        sizes = [count(densevit.create_backbone(name, spatial_dims=n, in_channels=1)) for n in (2, 3)]
    assert tuple(sizes) == ENCODERS[name]


def test_depths_widths_and_heads_are_those_of_the_paper():
    heads = {}
    for name in VARIANTS:
        with torch.device("meta"):
            backbone = densevit.create_backbone(name)
        heads[name] = tuple(stage.blocks[0].attn.num_heads for stage in backbone.stages)
        assert [block.attn.shift for stage in backbone.stages for block in stage.blocks[:2]] == [(0, 0), (3, 3)] * 4
    assert {name: (v["dim"], v["depths"], heads[name]) for name, v in VARIANTS.items()} == {
        "swin_tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
        "swin_small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
        "swin_base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
        "swin_large": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
    }


def test_every_layer_norm_has_the_eps_of_the_release():
    for backbone in (small_swin(), small_unetr(3)):
        assert {module.eps for module in backbone.modules() if isinstance(module, torch.nn.LayerNorm)} == {1e-5}


def test_swin_unetr_has_five_levels_each_after_a_norm_without_parameters():
    backbone = small_unetr(3).eval()
    assert (backbone.out_channels, backbone.out_strides) == ((12, 24, 48, 96, 192), (2, 4, 8, 16, 32))
    assert count(backbone.out_norms) == 0
    for feature in backbone(torch.randn(1, 1, 32, 48, 32)):
        torch.testing.assert_close(feature.mean(1), torch.zeros_like(feature[:, 0]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_patches_may_be_longer_along_some_axes(family):
    backbone = FAMILIES[family](3, patch_size=(1, 2, 4), window_size=(2, 4, 3))
    assert backbone.out_strides[:2] == ((1, 2, 4), (2, 4, 8))
    features = backbone(torch.randn(1, 1, 5, 17, 30))
    assert [tuple(f.shape[2:]) for f in features[:2]] == [(5, 9, 8), (3, 5, 4)]


def test_the_norm_of_a_level_does_not_touch_what_the_next_stage_reads():
    backbone = small_swin().eval()
    x = torch.randn(1, 1, 24, 24)
    before = backbone(x)
    torch.nn.init.constant_(backbone.out_norms[0].weight, 3.0)
    after = backbone(x)
    torch.testing.assert_close(after[0], 3 * before[0])
    assert torch.equal(after[1], before[1])


def test_fresh_linear_layers_and_tables_are_narrow_and_biases_zero():
    backbone = small_swin()
    for name, parameter in backbone.named_parameters():
        if name.endswith(("qkv.weight", "fc1.weight", "reduction.weight", "relative_position_bias_table")):
            assert parameter.std().item() == pytest.approx(0.02, rel=0.2)
        elif name.endswith("bias") and "downsample.proj" not in name:
            assert parameter.abs().max() == 0


def test_drop_path_grows_linearly_over_all_blocks():
    backbone = swin(dim=32, depths=(2, 2, 6, 2), drop_path=0.2)
    rates = [block.drop_path.p for stage in backbone.stages for block in stage.blocks]
    assert rates == pytest.approx([0.2 * i / 11 for i in range(12)])


# The 3D form.


def repeat_in_depth(flat, deep, *, window_depth):
    """Weights with which a 3D network does on a volume that repeats one slice what the 2D network does on the slice."""
    state = {}
    for name, own in deep.state_dict().items():
        tensor = flat.state_dict()[name]
        if name.endswith("downsample.proj.weight"):
            tensor = tensor.unsqueeze(2)
        elif name.endswith("relative_position_bias_table"):
            tensor = tensor.repeat(2 * window_depth - 1, 1)
        elif "downsample" in name and tensor.shape != own.shape:  # a merging: what had (h, w) goes to (d, h, w)
            four = tensor.unflatten(-1, (4, -1))
            at = {corner: i for i, corner in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)])}
            tensor = torch.cat([four[..., at[c[1:]], :] for c in deep.stages[1].downsample.corners], dim=-1)
            tensor = tensor / 2 if name.endswith("reduction.weight") else tensor
        state[name] = tensor
    deep.load_state_dict(state)
    return deep.eval()


@pytest.mark.parametrize("window_depth", [1, 2, 4])
def test_on_a_volume_that_repeats_one_slice_3d_equals_2d_at_every_level(window_depth):
    options = dict(dim=32, depths=(2, 2, 2), in_channels=2, drop_path=0.0)
    flat = swin(**options, patch_size=4, window_size=3).double().eval()
    for parameter in flat.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    deep = swin(spatial_dims=3, **options, patch_size=(1, 4, 4), window_size=(window_depth, 3, 3)).double()
    deep = repeat_in_depth(flat, deep, window_depth=window_depth)
    image = torch.randn(1, 2, 37, 50, dtype=torch.double)
    with torch.inference_mode():
        expected, features = flat(image), deep(image.unsqueeze(2).expand(-1, -1, 16, -1, -1))
    for wanted, feature in zip(expected, features, strict=True):
        torch.testing.assert_close(feature, wanted.unsqueeze(2).expand_as(feature), rtol=0, atol=1e-9)


@pytest.mark.parametrize("order", ["axes", "rows"])
def test_slices_do_not_meet_before_the_first_merging_where_windows_and_patches_are_one_slice_deep(order):
    axis = {"axes": 2, "rows": 4}[order]
    thin = [1 if k == axis - 2 else 4 for k in range(3)]
    backbone = small_swin(3, patch_size=thin, window_size=thin).eval()
    x = torch.randn(1, 1, 9, 10, 11)
    changed = x.clone()
    changed.select(axis, 4).add_(1)
    difference = (backbone(x)[0] - backbone(changed)[0]).abs().amax(dim=[k for k in range(5) if k != axis])
    assert difference[4] > 0
    assert difference.sum() == difference[4]


# What training, export and inference ask.


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_result_of_a_sample_does_not_depend_on_its_batch(family, spatial_dims):
    backbone = FAMILIES[family](spatial_dims).eval()
    x = torch.randn(3, 1, *SMALL[spatial_dims])
    with torch.inference_mode():
        for together, alone in zip(backbone(x), backbone(x[1:2]), strict=True):
            torch.testing.assert_close(together[1:2], alone)


def gradients(backbone, x):
    torch.manual_seed(1)  # the same samples are dropped
    sum(
        (feature * torch.linspace(-1, 1, feature.shape[1]).view(-1, *[1] * (x.ndim - 2))).square().mean()
        for feature in backbone(x)
    ).backward()
    return {name: p.grad for name, p in backbone.named_parameters()}


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_checkpointing_changes_no_gradient(family, spatial_dims):
    x = torch.randn(2, 1, *SMALL[spatial_dims])
    plain = FAMILIES[family](spatial_dims, drop_path=0.3)
    saved = copy.deepcopy(plain)
    saved.set_checkpointing()
    expected, found = gradients(plain, x), gradients(saved, x)
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in expected.values())
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=0)


def test_a_backbone_exports_and_its_program_gives_the_same_maps():
    backbone, x = small_swin().eval(), torch.randn(1, 1, *SMALL[2])
    program = torch.export.export(backbone, (x,)).module()
    for a, b in zip(program(x), backbone(x), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_works_after_inference_mode_and_under_autocast(family):
    backbone, x = FAMILIES[family](), torch.randn(1, 1, *SMALL[2])
    with torch.inference_mode():
        backbone(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sum(feature.float().square().mean() for feature in backbone(x)).backward()
    assert all(torch.isfinite(p.grad).all() for p in backbone.parameters())
