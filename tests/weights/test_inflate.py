"""Inflation: a 3D network made from 2D weights gives, on a volume that repeats one slice, the 2D network's maps.

Everything is in double precision, so that equal means equal.
"""

import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit import registry
from densevit.backbones.cait import TalkingHeads
from densevit.backbones.deepvit import ReAttend
from densevit.backbones.t2t_vit import RandomFeatures
from densevit.blocks import nd
from densevit.blocks.position import resize_cubic
from densevit.weights import load_weights, save_weights
from tests.common import own_decoders
from tests.weights.common import backbone, equal, snapshot
from tools.peers.common import picture, randomize

# Smallest variant of each family: options of both models, of the 2D and of the 3D one alone; size of the image, slices
# of the volume. The slices divide by strides and windows, so that nothing is padded along the new axis.
BACKBONES = {
    "mit_b0": (dict(), {}, {}, (40, 72), 32),
    "pvt_v1_tiny": (dict(depths=(1, 1, 1, 1)), dict(image_size=64), dict(image_size=(64, 64, 64)), (64, 64), 64),
    "pvt_v2_b0": (dict(), {}, {}, (40, 72), 32),
    "pvt_v2_b2_li": (dict(depths=(1, 1, 1, 1)), {}, {}, (40, 72), 32),
    "swin_tiny": (dict(dim=32, depths=(2, 2, 2, 2)), dict(), dict(window_size=(2, 7, 7)), (40, 72), 64),
    "swin_unetr_tiny": (dict(dim=12), dict(window_size=2), dict(window_size=2), (32, 48), 32),
    "mvit_v1_base": (
        dict(dim=32, depths=(1, 1, 2, 1), class_token=False),
        dict(pyramid=dict(image_size=64)),
        dict(pyramid=dict(image_size=(32, 64, 64))),
        (64, 48),
        32,
    ),
    "mvit_v2_tiny": (
        dict(dim=32, depths=(1, 1, 2, 1)),
        dict(pyramid=dict(image_size=64)),
        dict(pyramid=dict(image_size=(32, 64, 64))),
        (64, 48),
        32,
    ),
    "cait_xxs24": (dict(dim=48, depth=4), dict(image_size=64), dict(image_size=(32, 64, 64)), (64, 64), 32),
    "deepvit_s": (
        dict(dim=48, depth=4, num_mixed=2),
        dict(image_size=64),
        dict(image_size=(32, 64, 64)),
        (64, 64),
        32,
    ),
    "resnet18": (dict(dim=16, depths=(1, 1, 1, 1), bottleneck=True), {}, {}, (40, 72), 32),
    "vt_resnet18": (
        dict(dim=16, depths=(1, 1, 1, 2), num_tokens=4, token_dim=32, groups=4),
        {},
        {},
        (40, 72),
        32,
    ),
    "clip_vit_base_p16": (
        dict(dim=48, depth=4, num_heads=3),
        dict(image_size=64),
        dict(image_size=(16, 64, 64)),
        (64, 64),
        16,
    ),
    "timesformer_base": (dict(dim=48, depth=4, num_heads=3, image_size=64), {}, dict(num_frames=6), (64, 64), 4),
    "clip_resnet50": (dict(dim=16, depths=(1, 1, 1, 1)), {}, {}, (40, 72), 32),
    "ceit_tiny": (dict(dim=48, depth=4), dict(image_size=64), dict(image_size=(16, 64, 64)), (64, 64), 16),
    "t2t_vit_7": (dict(dim=48, depth=4), dict(image_size=64), dict(image_size=(16, 64, 64)), (64, 64), 16),
    "xcit_nano_12_p16": (dict(dim=48, depth=4, taps=(1, 3)), {}, {}, (40, 72), 32),
    "volo_d1": (
        dict(depths=(1, 1, 1, 1), dims=(24, 48), stem_dim=8),
        dict(image_size=64),
        dict(image_size=(32, 64, 64), window=(1, 3, 3)),
        (64, 64),
        32,
    ),
    "convmixer_768_32": (dict(dim=24, depth=4), {}, {}, (42, 77), 35),
    "mixer_small_p16": (dict(dim=48, depth=4), dict(image_size=32), dict(image_size=32), (48, 64), 32),
    "vit_tiny": (dict(depth=4), dict(image_size=64), dict(image_size=(32, 64, 64)), (64, 64), 32),
    "dinov2_small": (
        dict(dim=48, depth=4, num_heads=3, gated=True),
        dict(image_size=56),
        dict(image_size=(28, 56, 56)),
        (56, 56),
        42,
    ),
    "dinov2_reg_small": (
        dict(dim=48, depth=4, num_heads=3),
        dict(image_size=56),
        dict(image_size=(28, 56, 56)),
        (56, 56),
        28,
    ),
    "dinov3_vit_small": (dict(dim=48, depth=4, num_heads=3, gated_ratio=2), {}, {}, (43, 60), 48),
    "dinov3_convnext_tiny": (dict(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1)), {}, {}, (40, 72), 32),
    "eva02_tiny": (
        dict(dim=48, depth=4, sub_norm=True),
        dict(image_size=56),
        dict(image_size=(28, 56, 56)),
        (56, 56),
        28,
    ),
    "unetr_vit_base": (
        dict(depth=2, taps=(0, 1), dim=96, num_heads=4),
        dict(image_size=(32, 48)),
        dict(image_size=(32, 32, 48)),
        (32, 48),
        32,
    ),
}
DECODERS = {
    "all_mlp": dict(dim=16),
    "fpn": dict(dim=16, head_dim=8),
    "linear": dict(),
    "patch_decode": dict(),
    "unetr": dict(),
    "uper": dict(dim=16),
    "vt_fpn": dict(dim=16, position=True),
}
MADE_FOR_VOLUMES = {"primus_small"}  # families whose weights were trained on volumes, which share angles by three axes
# Families whose standardised kernels answer an inflated kernel by another scale. BiT's pooling has zeros beyond the
# first and the last slice, too.
STANDARDISED = {"bit_r50x1", "vit_small_r26_s32"}
HOW = ["center", "mean"]


def volume(image, slices):
    """(B, C, H, W) -> (B, C, slices, H, W), the same slice again and again."""
    return image.unsqueeze(2).expand(-1, -1, slices, -1, -1)


def assert_repeats(maps, flat_maps):
    """Every slice of each 3D map (B, C, D, H, W) is the 2D map (B, C, H, W)."""
    for map_3d, map_2d in zip(maps, flat_maps, strict=True):
        repeated = map_2d.unsqueeze(2).expand_as(map_3d)
        torch.testing.assert_close(map_3d, repeated, rtol=1e-8, atol=1e-8)


def inflated(flat, name, tmp_path, *, how, **options):
    """The 3D backbone that the 2D one's file fills."""
    save_weights(flat, tmp_path / "flat.safetensors", config={})
    model = backbone(name, spatial_dims=3, seed=1, **options).double()
    report = load_weights(model, tmp_path / "flat.safetensors", inflate=how)
    assert report.complete
    assert report.inflated
    return model


def pair(name, tmp_path, *, how):
    """2D backbone, the 3D one that it fills, an image and the volume that repeats it."""
    common, options_2d, options_3d, size, slices = BACKBONES[name]
    flat = backbone(name, **common | options_2d).double()
    for module in flat.modules():
        # These add a number for each key, of which there are more in a volume.
        if isinstance(module, TalkingHeads):
            torch.nn.init.zeros_(module.proj_w.bias)
        if isinstance(module, ReAttend):
            torch.nn.init.zeros_(module.var_norm.bias)
            module.var_norm.running_mean.copy_(module.reatten_matrix.bias.detach())
    image = picture(*size).double()
    model = inflated(flat, name, tmp_path, how=how, **common | options_3d)
    for module in (*flat.modules(), *model.modules()):
        if isinstance(module, RandomFeatures):
            module.eps = 0.0  # a number beside a sum over the keys
    return flat, model, image, volume(image, slices)


def test_every_family_and_decoder_is_tried():
    known = [name for name in densevit.list_backbones() if not name.startswith("conv_former")]  # docs/add_a_backbone.md
    families = registry.BACKBONES.family
    assert {families(name) for name in known} == {
        families(name) for name in [*BACKBONES, *MADE_FOR_VOLUMES, *STANDARDISED]
    }
    assert set(own_decoders()) == {*DECODERS, "mask_clip"}  # which is made of a trained CLIP


@pytest.mark.parametrize("name", BACKBONES)
def test_with_center_every_slice_of_a_repeated_picture_has_the_features_of_the_2d_network(name, tmp_path):
    flat, model, image, repeated = pair(name, tmp_path, how="center")
    with torch.no_grad():
        assert_repeats(model(repeated), flat(image))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", ["dinov2_small", "dinov2_reg_small", "dinov3_vit_small", "eva02_tiny"])
def test_class_and_register_tokens_count_once_for_each_slice_and_are_those_of_the_2d_network(name, how, tmp_path):
    flat, model, image, repeated = pair(name, tmp_path, how=how)
    with torch.no_grad():
        expected, found = flat.features(image), model.features(repeated)
    for deep, level in zip(found.levels, expected.levels, strict=True):
        count = len(level.prefix)
        torch.testing.assert_close(deep.values[:, :count], level.values[:, :count], rtol=0, atol=1e-10)
        torch.testing.assert_close(deep.grid, level.grid[:, None].expand_as(deep.grid), rtol=0, atol=1e-10)


def test_the_scale_of_inflated_standardised_kernels_is_taken_out_by_the_norms(tmp_path):
    options = dict(stem_dim=8, num_groups=4, depths=(1, 1, 1), dim=48, depth=2, taps=(0, 1))
    flat = backbone("vit_base_r50_s16", image_size=64, **options).double()
    model = inflated(flat, "vit_base_r50_s16", tmp_path, how="center", image_size=(16, 64, 64), **options)
    for module in [*flat.modules(), *model.modules()]:
        if isinstance(module, torch.nn.GroupNorm):
            module.eps = 0
    image = picture(64, 64).double()
    with torch.no_grad():
        for deep, expected in zip(model(volume(image, 16)), flat(image), strict=True):
            assert (deep - expected.unsqueeze(2)).abs().max() <= 1e-5 * expected.abs().max()


def test_rotary_positions_of_a_new_axis_begin_with_zero_and_then_tell_slices_apart(tmp_path):
    _, model, _, repeated = pair("dinov3_vit_small", tmp_path, how="center")
    rates = model.stages[0].downsample.relate.rope.rates
    assert not rates.any()
    with torch.no_grad():
        rates.fill_(0.5)
        first, *others = model(repeated)[-1].unbind(2)
        assert not any(torch.allclose(first, other, atol=1e-4) for other in others)


@pytest.mark.parametrize("name", BACKBONES)
def test_with_mean_the_same_holds_where_borders_of_the_new_axis_are_repeated_instead_of_zero(
    name, tmp_path, monkeypatch
):
    flat, model, image, repeated = pair(name, tmp_path, how="mean")
    repeat_depth_borders(monkeypatch)
    with torch.no_grad():
        assert_repeats(model(repeated), flat(image))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny", dict(depth=4)),
        ("pvt_v1_tiny", dict(depths=(1, 1, 1, 1))),
        ("mvit_v1_base", dict(dim=32, depths=(1, 1, 1, 1), class_token=False)),
        ("mvit_v2_tiny", dict(dim=32, depths=(1, 1, 1, 1))),
    ],
)
def test_tables_for_another_size_of_pictures_are_remarked_since_no_map_is_then_that_of_2d(name, options, tmp_path):
    flat = backbone(name, **options)
    save_weights(flat, tmp_path / "flat.safetensors", config={})
    size = (32, 224, 224)
    same = dict(pyramid=dict(image_size=size)) if name.startswith("mvit") else dict(image_size=size)
    for more, words in (({}, "made for pictures of another size"), (same, "")):
        model = backbone(name, spatial_dims=3, seed=1, **options, **more).double()
        report = load_weights(model, tmp_path / "flat.safetensors", inflate="center")
        assert words in " ".join(report.remarks)
        assert bool(report.remarks) == bool(words)
    image = picture(96, 64) if name != "vit_tiny" else picture(224, 224)  # of ViT only that of the table
    with torch.no_grad():
        assert_repeats(model(volume(image.double(), 32)), flat.double()(image.double()))


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_whole_model_is_inflated_with_its_decoder_and_head(decoder, tmp_path):
    options = dict(num_classes=5, decoder_options=DECODERS[decoder])
    flat = randomize(densevit.create_segmentor("mit_b0", decoder, **options))
    save_weights(flat, tmp_path / "flat.safetensors", config={})
    weights = dict(path=tmp_path / "flat.safetensors", inflate="center")
    model = densevit.create_segmentor("mit_b0", decoder, spatial_dims=3, weights=weights, **options).eval()
    flat, model, image = flat.double(), model.double(), picture(32, 40).double()
    with torch.no_grad():
        assert_repeats([model(volume(image, 32))], [flat(image)])


@pytest.mark.parametrize("how", HOW)
def test_each_kernel_sums_to_that_of_the_2d_network(how, tmp_path):
    flat = backbone().double()
    model = inflated(flat, "mit_b0", tmp_path, how=how)
    for name, tensor in flat.state_dict().items():
        kernel = model.state_dict()[name]
        torch.testing.assert_close(kernel.sum(2) if kernel.ndim > tensor.ndim else kernel, tensor)
        assert kernel.ndim == tensor.ndim or (kernel != 0).any((0, 1, 3, 4)).sum() == (
            1 if how == "center" else kernel.shape[2]
        )


def test_the_option_is_named_where_it_is_needed_and_its_values_where_they_are_wrong(tmp_path):
    save_weights(backbone(), tmp_path / "flat.safetensors", config={})
    model = backbone(spatial_dims=3, seed=1)
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"weights are 2D, the model is 3D .*load with inflate='center' or 'mean'"):
        load_weights(model, tmp_path / "flat.safetensors")
    with pytest.raises(ValueError, match="inflate must be None, 'center' or 'mean', got 'centre'"):
        load_weights(model, tmp_path / "flat.safetensors", inflate="centre")
    assert equal(before, model)


def test_without_the_option_nothing_is_made_deeper_even_where_a_mismatch_may_pass(tmp_path):
    save_weights(backbone("swin_tiny", depths=(1, 1, 1, 1)), tmp_path / "flat.safetensors", config={})
    model = backbone("swin_tiny", depths=(1, 1, 1, 1), spatial_dims=3, seed=1)
    report = load_weights(model, tmp_path / "flat.safetensors", strict=False)
    assert (report.inflated, report.reshaped) == ((), ())
    assert sum("relative_position_bias_table" in name for name in report.mismatched) == 4


def test_volumes_do_not_become_pictures(tmp_path):
    save_weights(backbone(spatial_dims=3), tmp_path / "deep.safetensors", config={})
    with pytest.raises(ValueError, match=r"weights are 3D, the model is 2D \(create it with spatial_dims=3\)$"):
        load_weights(backbone(), tmp_path / "deep.safetensors", inflate="center")


def test_channels_are_fitted_together_with_the_third_dimension(tmp_path):
    flat = backbone()
    save_weights(flat, tmp_path / "flat.safetensors", config={})
    weights = dict(path=tmp_path / "flat.safetensors", inflate="mean", adapt_channels="sum")
    model = densevit.create_backbone("mit_b0", spatial_dims=3, in_channels=1, weights=weights)
    stem = model.stages[0].downsample.proj.weight
    torch.testing.assert_close(stem.sum((1, 2)), flat.stages[0].downsample.proj.weight.sum(1))


@pytest.mark.parametrize("name", ["pvt_v1_tiny", "swin_tiny", "swin_unetr_tiny", "vit_tiny"])
def test_with_mean_the_same_holds_as_it_is_where_no_convolution_is_padded(name, tmp_path):
    flat, model, image, repeated = pair(name, tmp_path, how="mean")
    with torch.no_grad():
        assert_repeats(model(repeated), flat(image))


def test_a_class_token_meets_as_many_patches_as_in_2d_only_where_the_volume_is_one_patch_deep(tmp_path):
    common = dict(depth=4, num_tokens=1)
    flat = backbone("vit_tiny", **common, image_size=64).double()
    image = picture(64, 64).double()
    with torch.no_grad():
        model = inflated(flat, "vit_tiny", tmp_path, how="center", **common, image_size=(16, 64, 64))
        assert_repeats(model(volume(image, 16)), flat(image))
        with pytest.raises(AssertionError, match="not close"):
            assert_repeats(model(volume(image, 32)), flat(image))


def test_an_order_of_merging_that_leaves_neighbours_out_is_refused(tmp_path):
    save_weights(backbone("swin_unetr_tiny"), tmp_path / "flat.safetensors", config={})
    with pytest.raises(ValueError, match=r"merge_order='legacy' reads some neighbours twice .*merge_order='fixed'$"):
        inflate_into(tmp_path, merge_order="legacy")
    with torch.no_grad():
        assert inflate_into(tmp_path, merge_order="v2").complete


def inflate_into(folder, **options):
    model = densevit.create_backbone("swin_unetr_tiny", spatial_dims=3, **options)
    return load_weights(model, folder / "flat.safetensors", inflate="mean")


def test_tables_are_resized_and_repeated_along_the_new_axis(tmp_path):
    flat = backbone("swin_tiny", depths=(1, 1, 1, 1), window_size=7)
    save_weights(flat, tmp_path / "flat.safetensors", config={})
    model = backbone("swin_tiny", depths=(1, 1, 1, 1), window_size=(3, 4, 7), spatial_dims=3, seed=1)
    report = load_weights(model, tmp_path / "flat.safetensors", inflate="center")
    name = "stages.0.blocks.0.attn.relative_position_bias_table"
    theirs, ours = flat.get_parameter(name), model.get_parameter(name).unflatten(0, (5, 7, 13))
    torch.testing.assert_close(ours[0], resize_cubic(theirs.detach().unflatten(0, (13, 13)), (7, 13)))
    assert torch.equal(ours[1:], ours[:1].expand(4, -1, -1, -1))
    assert f"backbone.{name} (455, 3) from (169, 3) by resizing the table" in report.reshaped


def repeat_depth_borders(monkeypatch):
    """Let each padded convolution of a model repeat its first and last slice instead of adding zeros there."""
    conv3d = F.conv3d

    def repeated(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        depth, *rest = nd.ntuple(padding, 3)
        x = F.pad(x, (0, 0, 0, 0, depth, depth), mode="replicate")
        return conv3d(x, weight, bias, stride, (0, *rest), dilation, groups)

    monkeypatch.setattr(F, "conv3d", repeated)
    monkeypatch.setitem(nd.CONVOLVE, 3, repeated)
