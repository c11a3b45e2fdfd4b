"""Every backbone with every decoder in 2D and 3D, and what a backbone and a segmentor promise."""

from functools import cache
from math import ceil, log

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import densevit
import densevit.weights
from densevit.blocks import nd
from densevit.registry import BACKBONES, DECODERS
from densevit.weights.building import Building
from tests.common import own_decoders, smallest_of_families

SIZES = {
    "even": [(128, 96), (64, 32, 96)],
    "odd": [(75, 93), (50, 33, 61)],
    "one pixel": [(1, 1), (1, 1, 1)],
    "tiny": [(5, 3), (3, 2, 5)],
    "anisotropic": [(7, 333), (5, 160, 96)],
}
SMALL = {2: (37, 50), 3: (9, 37, 30)}


@cache
def backbone_on_meta(name: str, spatial_dims: int) -> nn.Module:
    depth = BACKBONES.parameters(name).get("depth")  # no shape depends on it, and most of the time does
    shallow = dict(depth=12) if depth and depth.default > 12 else {}
    with torch.device("meta"), Building():
        return densevit.create_backbone(name, spatial_dims=spatial_dims, in_channels=2, **shallow).eval()


@cache
def features_on_meta(backbone: str, spatial_dims: int, shape: str) -> list[torch.Tensor]:
    image = torch.empty(2, 2, *SIZES[shape][spatial_dims - 2], device="meta")
    return backbone_on_meta(backbone, spatial_dims)(image)


@cache
def model_on_meta(backbone: str, decoder: str, spatial_dims: int) -> nn.Module:
    encoder = backbone_on_meta(backbone, spatial_dims)
    with torch.device("meta"), Building():
        return densevit.create_segmentor(encoder, decoder, num_classes=5).eval()


def small_backbone(name: str, spatial_dims: int, **options) -> nn.Module:
    torch.manual_seed(0)
    return densevit.create_backbone(name, spatial_dims=spatial_dims, in_channels=1, **options)


def gradients(backbone: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)  # the same samples are dropped
    sum(feature.square().mean() for feature in backbone(x)).backward()
    return {name: p.grad for name, p in backbone.named_parameters()}


class Pyramid(nn.Module):
    """Stands for every backbone with these channels and strides: its maps have no values."""

    def __init__(self, spatial_dims: int, channels: tuple, strides: tuple):
        super().__init__()
        self.in_channels, self.spatial_dims = 2, spatial_dims
        self.out_channels, self.out_strides = channels, strides

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        sizes = [nd.ceil_div(x.shape[2:], stride) for stride in self.out_strides]
        return [x.new_empty(len(x), c, *size) for c, size in zip(self.out_channels, sizes, strict=True)]


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("backbone", densevit.list_backbones())
def test_logits_have_the_size_of_the_image_with_every_decoder(backbone, spatial_dims):
    """A decoder sees nothing of a backbone but its channels and strides: each of these is tried once.

    Sizes do not depend on how many channels there are, and strides are tried at all sizes with few.
    """
    pyramid = backbone_on_meta(backbone, spatial_dims)
    channels, strides = pyramid.out_channels, pyramid.out_strides
    few = {width: 8 * (i + 1) for i, width in enumerate(sorted(set(channels)))}
    for decoder in own_decoders():
        check_sizes_of_logits(decoder, spatial_dims, tuple(few[width] for width in channels), strides, tuple(SIZES))
        check_sizes_of_logits(decoder, spatial_dims, channels, strides, ("tiny",))


@cache
def check_sizes_of_logits(decoder: str, spatial_dims: int, channels: tuple, strides: tuple, shapes: tuple) -> None:
    with torch.device("meta"), Building():
        model = densevit.create_segmentor(Pyramid(spatial_dims, channels, strides), decoder, num_classes=5).eval()
    for shape in shapes:
        size = SIZES[shape][spatial_dims - 2]
        assert model(torch.empty(2, 2, *size, device="meta")).shape == (2, 5, *size), f"{decoder}, {shape}"


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (name, shape)
        for name in densevit.list_backbones()
        for shape in (SIZES if name in smallest_of_families() else ["anisotropic"])
    ],
)
def test_features_have_the_channels_and_strides_that_the_backbone_names(name, shape, spatial_dims):
    size = SIZES[shape][spatial_dims - 2]
    backbone = backbone_on_meta(name, spatial_dims)
    wanted = [
        (2, c, *nd.ceil_div(size, stride))
        for c, stride in zip(backbone.out_channels, backbone.out_strides, strict=True)
    ]
    assert [tuple(feature.shape) for feature in features_on_meta(name, spatial_dims, shape)] == wanted


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", densevit.list_decoders())
def test_a_decoder_gives_its_channels_at_its_stride(name, spatial_dims):
    size, channels, strides = (40, 33, 65)[-spatial_dims:], (8, 16, 24), (2, 4, 8)
    decoder = densevit.create_decoder(name, in_channels=channels, in_strides=strides, spatial_dims=spatial_dims)
    features = [torch.randn(2, c, *(ceil(s / k) for s in size)) for c, k in zip(channels, strides, strict=True)]
    assert decoder(features).values.shape == (2, decoder.out_channels, *(ceil(s / decoder.out_stride) for s in size))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_logits_and_features_are_reachable_without_the_last_resize(spatial_dims):
    size = SMALL[spatial_dims]
    model = model_on_meta("mit_b0", "all_mlp", spatial_dims)
    x = torch.empty(1, 2, *size, device="meta")
    assert len(model.forward_features(x)) == len(model.backbone.out_channels)
    assert model.forward_logits(x).shape == (1, 5, *(ceil(s / model.decoder.out_stride) for s in size))


@pytest.mark.parametrize(
    ("backbone", "decoder", "divisor"),
    [
        ("mit_b0", "all_mlp", (32, 32, 32)),
        ("vit_tiny", "linear", (16, 16, 16)),
        ("swin_unetr_tiny", "fpn", (32, 32, 32)),
        ("swin_unetr_tiny", "unetr", (1, 1, 1)),
    ],
)
def test_image_sizes_should_be_multiples_of_the_coarsest_stride_unless_the_decoder_keeps_places(
    backbone, decoder, divisor
):
    assert model_on_meta(backbone, decoder, 3).divisor == divisor


@pytest.mark.parametrize("num_classes", [2, 19, 150])
def test_a_fresh_model_calls_every_class_about_equally_likely(num_classes):
    torch.manual_seed(0)
    model = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=num_classes)
    label = torch.randint(num_classes, (2, 64, 64))
    loss = F.cross_entropy(model(torch.randn(2, 3, 64, 64)), label)
    assert loss.item() == pytest.approx(log(num_classes), abs=0.1)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", ["mit_b0", "pvt_v2_b2_li"])
def test_the_result_of_a_sample_does_not_depend_on_its_batch(name, spatial_dims):
    backbone = small_backbone(name, spatial_dims).eval()
    x = torch.randn(3, 1, *SMALL[spatial_dims])
    with torch.inference_mode():
        for together, alone in zip(backbone(x), backbone(x[1:2]), strict=True):
            torch.testing.assert_close(together[1:2], alone)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_memory_layout_of_an_image_does_not_change_the_result(spatial_dims):
    backbone = small_backbone("mit_b0", spatial_dims).eval()
    x = torch.randn(2, 1, *SMALL[spatial_dims])
    transposed = x.transpose(-1, -2).contiguous().transpose(-1, -2)
    with torch.inference_mode():
        for a, b in zip(backbone(x), backbone(transposed), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", ["mit_b0", "pvt_v2_b0"])
def test_checkpointing_changes_no_gradient(name, spatial_dims):
    x = torch.randn(2, 1, *SMALL[spatial_dims])
    plain = gradients(small_backbone(name, spatial_dims, drop_path=0.3), x)
    saved = gradients(small_backbone(name, spatial_dims, drop_path=0.3, checkpointing=True), x)
    assert plain.keys() == saved.keys()
    for name in plain:
        torch.testing.assert_close(saved[name], plain[name], rtol=0, atol=0)


def test_checkpointing_keeps_fewer_activations():
    def saved_bytes(**options) -> int:
        kept = []
        backbone = small_backbone("mit_b0", 2, **options).train()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
            backbone(torch.randn(1, 1, 64, 64))
        return sum(kept)

    assert saved_bytes(checkpointing=True) < 0.5 * saved_bytes()


@pytest.mark.parametrize("frozen", [0, 1, 4])
def test_frozen_stages_have_no_gradient_and_stay_in_eval_mode(frozen):
    backbone = small_backbone("mit_b0", 2, frozen=frozen, drop_path=0.5).train()
    for i, stage in enumerate(backbone.stages):
        assert {p.requires_grad for p in stage.parameters()} == {i >= frozen}
        assert {module.training for module in stage.modules()} == {i >= frozen}
    features = backbone(torch.randn(1, 1, 64, 64))
    assert [feature.requires_grad for feature in features] == [i >= frozen for i in range(4)]


def test_frozen_stages_pass_checkpointing_by():
    backbone = small_backbone("mit_b0", 2, frozen=2, checkpointing=True).train()
    backbone(torch.randn(1, 1, 64, 64))[-1].sum().backward()
    assert backbone.stages[0].blocks[0].attn.q.weight.grad is None
    assert backbone.stages[2].blocks[0].attn.q.weight.grad is not None


@pytest.mark.parametrize("frozen", [-1, 5])
def test_freezing_more_stages_than_there_are_is_refused(frozen):
    with pytest.raises(ValueError, match=f"0 to 4 stages, got {frozen}"):
        small_backbone("mit_b0", 2, frozen=frozen)


@pytest.mark.parametrize("shape", [(1, 3, 64), (3, 64, 64), (1, 3, 8, 64, 64), (1, 4, 64, 64)], ids=str)
def test_an_image_of_another_rank_or_channel_count_is_refused(shape):
    model = model_on_meta("mit_b0", "all_mlp", 2)
    with pytest.raises(ValueError, match=r"expected \(B, 2, \*S\) with 2 spatial dimensions, got shape"):
        model(torch.empty(shape, device="meta"))


@pytest.mark.parametrize(
    ("backbone", "decoder", "message"),
    [
        ("mit_b9", "all_mlp", "no backbone named 'mit_b9'; did you mean mit_b"),
        ("pvtv2_b2", "all_mlp", "did you mean pvt_v2_b2"),
        ("alexnet", "all_mlp", "known: .*mit_b0"),
        ("mit_b0", "all_mpl", "no decoder named 'all_mpl'; did you mean all_mlp"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_one(backbone, decoder, message):
    with pytest.raises(KeyError, match=message):
        densevit.create_segmentor(backbone, decoder, num_classes=2)


def test_an_unknown_option_is_refused_where_it_was_typed():
    with pytest.raises(TypeError, match="drop_pth"):
        densevit.create_backbone("mit_b0", drop_pth=0.1)
    with pytest.raises(TypeError, match="dimm"):
        densevit.create_segmentor("mit_b0", "all_mlp", num_classes=2, decoder_options=dict(dimm=128))


@pytest.mark.parametrize("spatial_dims", [1, 4, "2"])
def test_other_ranks_than_two_and_three_are_refused(spatial_dims):
    with pytest.raises(ValueError, match="spatial_dims must be 2 or 3"):
        densevit.create_backbone("mit_b0", spatial_dims=spatial_dims)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            dict(backbone_options=dict(weights="missing.pth")),
            r"backbone_options \['weights'\] are for a backbone .* name",
        ),
        (dict(spatial_dims=3), "a module with spatial_dims=2, got spatial_dims=3; leave spatial_dims out"),
        (dict(in_channels=3), "a module with in_channels=1, got in_channels=3; leave in_channels out"),
        (dict(decoder=None), "the maps of Backbone are logits, 32 of them for num_classes=2"),
    ],
    ids=str,
)
def test_what_a_module_that_is_built_already_cannot_follow_is_refused(given, message):
    backbone = small_backbone("mit_b0", 2)
    with pytest.raises(ValueError, match=message):
        densevit.create_segmentor(**(dict(backbone=backbone, decoder="all_mlp", num_classes=2) | given))


def test_a_module_as_backbone_takes_the_weights_of_a_whole_model_and_true_statements_about_itself(tmp_path):
    whole = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=2, in_channels=1)
    densevit.weights.save_weights(whole, tmp_path / "whole.safetensors", config={})
    made = densevit.create_segmentor(
        small_backbone("mit_b0", 2),
        "all_mlp",
        num_classes=2,
        spatial_dims=2,
        in_channels=1,
        weights=tmp_path / "whole.safetensors",
    )
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), made.parameters(), strict=True))
    with pytest.raises(FileNotFoundError, match=r"missing\.safetensors"):
        densevit.create_segmentor(made.backbone, "all_mlp", num_classes=2, weights="missing.safetensors")


def test_a_module_that_lacks_part_of_the_contract_is_refused_as_backbone():
    with pytest.raises(
        ValueError, match="the backbone Identity has no spatial_dims, in_channels, out_channels, out_st"
    ):
        densevit.create_segmentor(nn.Identity(), "all_mlp", num_classes=2)


def test_a_model_without_classes_is_refused():
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        densevit.create_segmentor("mit_b0", "all_mlp", num_classes=0)


def test_a_name_is_registered_once():
    for registry in (BACKBONES, DECODERS):
        taken = registry.names()[0]
        with pytest.raises(ValueError, match="registered twice"):
            registry.register({taken: {}})(nn.Identity)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (dict(backbone_options=dict(frozen=True)), "frozen"),
        (dict(backbone_options=dict(depths=(2, 2, True, 2))), "depths"),
        (dict(decoder_options=dict(dim=True)), "dim"),
        (dict(num_classes=True), "num_classes"),
        (dict(in_channels=True), "in_channels"),
    ],
)
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_true_is_no_number_of_stages_blocks_or_channels(given, named, spatial_dims):
    with pytest.raises(ValueError, match=f"^{named} must be numbers, got .*True"):
        densevit.create_segmentor("mit_b0", "all_mlp", **{"num_classes": 2, "spatial_dims": spatial_dims, **given})


@pytest.mark.parametrize("dim", [10**9, 10**12])
def test_sizes_of_which_nothing_can_be_made_are_one_sentence(dim):
    with pytest.raises(ValueError, match=r"the decoder all_mlp cannot be built with .*give sizes of at least 1"):
        densevit.create_segmentor("mit_b0", "all_mlp", num_classes=2, decoder_options=dict(dim=dim))


@pytest.mark.parametrize(("name", "depths"), [("bit_r50x1", ()), ("vt_resnet18", (2,)), ("clip_resnet50", ())])
def test_stages_of_which_there_are_too_few_are_refused_in_a_sentence(name, depths):
    with pytest.raises(ValueError, match=f"^the backbone {name} cannot be built with .*give sizes of at least 1"):
        densevit.create_backbone(name, depths=depths)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("vit_tiny", dict(num_heads=5), "num_heads of vit_tiny must divide its dim of 192, got 5"),
        ("t2t_vit_7", dict(num_heads=7), "num_heads of t2t_vit_7 must divide its dim of 256, got 7"),
        ("vit_tiny", dict(image_size=0), "image_size must be a whole number of at least 1, got 0"),
        ("timesformer_base", dict(num_frames=0), "num_frames must be a whole number of at least 1, got 0"),
        ("vt_resnet18", dict(num_tokens=0), "num_tokens must be at least 1, got 0"),
    ],
)
def test_numbers_of_which_nothing_comes_are_refused_when_they_are_given(name, options, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        densevit.create_backbone(name, **options)


def test_a_plain_backbone_of_two_blocks_has_two_levels():
    assert len(densevit.create_backbone("vit_tiny", depth=2).out_channels) == 2
