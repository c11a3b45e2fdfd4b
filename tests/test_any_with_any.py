"""Every family with every decoder on real tensors, in 2D and 3D: a training step, and tracing without a break."""

from math import log

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import densevit
from densevit.backbones.necks import NECKS
from densevit.blocks import nd
from densevit.registry import BACKBONES
from tests.common import own_decoders
from tools.peers.common import randomize

# One small member of each family: the options that make it so.
SMALL = {
    "mit_b0": dict(dims=(8, 16, 40, 64), depths=(1, 1, 1, 1)),
    "pvt_v2_b0": dict(dims=(8, 16, 40, 64), depths=(1, 1, 1, 1)),
    "pvt_v2_b2_li": dict(dims=(8, 16, 40, 64), depths=(1, 1, 1, 1)),
    "pvt_v1_tiny": dict(depths=(1, 1, 1, 1), image_size=32),
    "swin_tiny": dict(dim=32, depths=(2, 2, 2, 1), window_size=3),
    "swin_unetr_tiny": dict(window_size=3),
    "primus_v3_small": dict(dim=48, depth=4, num_heads=2, image_size=32, stem_dims=(4, 8, 8, 16)),
    "mvit_v1_base": dict(dim=16, depths=(1, 2, 1, 1), pyramid=dict(image_size=32)),
    "mvit_v2_tiny": dict(dim=16, depths=(1, 2, 1, 1), pyramid=dict(image_size=32)),
    "vit_tiny": dict(dim=48, depth=4, image_size=32, patch_size=8, num_tokens=1),
    "cait_xxs24": dict(dim=48, depth=4, image_size=32, patch_size=8),
    "xcit_nano_12_p16": dict(dim=48, depth=4, taps=(0, 1, 2, 3), patch_size=8),
    "deepvit_16b": dict(dim=48, depth=4, num_heads=4, image_size=32),
    "deepvit_s": dict(dim=48, depth=4, num_heads=4, num_mixed=2, image_size=32),
    "resnet18": dict(dim=8, depths=(1, 1, 1, 1)),
    "bit_r50x1": dict(dim=8, depths=(1, 1, 1, 1), num_groups=4),
    "vit_small_r26_s32": dict(stem_dim=8, num_groups=4, depths=(1, 1), dim=48, depth=4, image_size=32),
    "timesformer_base": dict(dim=48, depth=4, num_heads=3, image_size=32, num_frames=4, patch_size=8),
    "vt_resnet18": dict(dim=8, depths=(1, 1, 1, 2), num_tokens=4, token_dim=16, groups=4),
    "clip_vit_base_p16": dict(dim=48, depth=4, num_heads=3, image_size=32, patch_size=8),
    "clip_resnet50": dict(dim=8, depths=(1, 1, 1, 1)),
    "ceit_tiny": dict(dim=48, depth=4, image_size=32),
    "t2t_vit_7": dict(dim=48, depth=4, token_dim=16, image_size=32),
    "volo_d1": dict(depths=(1, 1, 1, 1), dims=(16, 32), num_heads=(2, 2), stem_dim=8, image_size=32),
    "mixer_small_p16": dict(dim=48, depth=4, patch_size=8, image_size=32),
    "convmixer_768_32": dict(dim=24, depth=4, kernel_size=3),
    "unetr_vit_base": dict(dim=48, depth=4, num_heads=4, image_size=32, taps=(0, 1, 2, 3)),
    "dinov2_small": dict(dim=48, depth=4, num_heads=3, image_size=32, patch_size=8, num_registers=2),
    "dinov3_vit_small": dict(dim=48, depth=4, num_heads=3, patch_size=8, gated_ratio=2),
    "dinov3_convnext_tiny": dict(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1)),
    "eva02_tiny": dict(dim=48, depth=4, image_size=32, patch_size=8, sub_norm=True),
}
NARROW = {
    "all_mlp": dict(dim=16),
    "fpn": dict(dim=16, head_dim=8),
    "linear": {},
    "patch_decode": {},
    "unetr": {},
    "uper": dict(dim=16),
    "vt_fpn": dict(dim=16, num_tokens=4, token_dim=16),
}
SIZES = {2: (45, 64), 3: (16, 33, 40)}
# A decoder sees nothing of a backbone but its channels and strides: those of each kind of strides are trained with all.
KINDS = (
    "mit_b0",
    "swin_unetr_tiny",
    "vit_tiny",
    "ceit_tiny",
    "vit_small_r26_s32",
    "vt_resnet18",
    "volo_d1",
    "convmixer_768_32",
    "timesformer_base",
)
TRAINED = [(name, decoder) for name in SMALL for decoder in (NARROW if name in KINDS else ["all_mlp"])]
TRACED = [(backbone, "all_mlp") for backbone in SMALL] + [
    ("mit_b0", decoder) for decoder in NARROW if decoder != "all_mlp"
]


def small_model(backbone: str, decoder: str, spatial_dims: int, **options) -> nn.Module:
    torch.manual_seed(0)
    return densevit.create_segmentor(
        backbone,
        decoder,
        num_classes=3,
        spatial_dims=spatial_dims,
        in_channels=1,
        backbone_options=SMALL[backbone] | options,
        decoder_options=NARROW[decoder],
    )


def shallow_model(backbone: str, decoder: str, spatial_dims: int) -> nn.Module:
    """The same with one block where all are alike, each of which would be traced anew."""
    plain = "depth" in SMALL[backbone] and "num_mixed" not in SMALL[backbone]
    options = dict(depth=1, taps=(0,)) if plain else {}
    return randomize(small_model(backbone, decoder, spatial_dims, **options))


def batch(spatial_dims: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A bright half and a dark half, and which is which, and some ignored."""
    size = SIZES[spatial_dims]
    label = torch.zeros(2, *size, dtype=torch.int64)
    label[..., size[-1] // 2 :] = 2
    label[..., :2] = 255
    return label[:, None].clamp(max=2) + 0.1 * torch.randn(2, 1, *size), label


def families() -> set:
    """The builder behind each registered name; variants of one family share it."""
    return {BACKBONES.family(name) for name in BACKBONES.names()}


def test_every_family_and_every_decoder_is_tried():
    assert {BACKBONES.family(name) for name in SMALL} == families()
    assert sorted([*NARROW, "mask_clip"]) == own_decoders()  # which is made of a trained CLIP


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_every_kind_of_strides_is_trained_with_every_decoder(spatial_dims):
    with torch.device("meta"):
        strides = {
            name: tuple(densevit.create_backbone(name, spatial_dims=spatial_dims, **SMALL[name]).out_strides)
            for name in SMALL
        }
    assert {strides[name] for name in KINDS} == set(strides.values())


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize(("backbone", "decoder"), TRAINED)
def test_a_few_steps_of_training_reach_every_parameter_and_lower_the_loss(backbone, decoder, spatial_dims):
    model = small_model(backbone, decoder, spatial_dims).train()
    image, label = batch(spatial_dims)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(4):
        loss = F.cross_entropy(model(image), label, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert losses[0] == pytest.approx(log(3), abs=0.3)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("backbone", "decoder"), TRACED)
def test_a_model_compiles_into_one_graph_which_gives_the_same_logits(backbone, decoder):
    model = shallow_model(backbone, decoder, spatial_dims=3)
    image, _ = batch(spatial_dims=3)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(image), model(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("backbone", "decoder"), TRACED)
def test_a_model_exports_to_a_program_which_gives_the_same_logits(backbone, decoder):
    """In 2D, as the test above is in 3D: both trace the same lines."""
    model = shallow_model(backbone, decoder, spatial_dims=2)
    image, _ = batch(spatial_dims=2)
    program = torch.export.export(model, (image,))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(image), model(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("neck", NECKS)
def test_a_neck_makes_a_pyramid_of_every_plain_family(neck, spatial_dims):
    options, plain = dict(spatial_dims=spatial_dims, in_channels=1), []
    with torch.device("meta"):
        for name, small in SMALL.items():
            if len(set(densevit.create_backbone(name, **options, **small).out_strides)) == 1:
                plain.append(name)
                backbone = densevit.create_backbone(name, neck=neck, **options, **small)
                strides = [nd.ntuple(stride, spatial_dims) for stride in backbone.out_strides]
                assert [max(stride) for stride in strides] == [4, 8, 16, 32], name
                sizes = [x.shape[2:] for x in backbone(torch.empty(1, 1, *[64] * spatial_dims))]
                assert sizes == [nd.ceil_div([64] * spatial_dims, stride) for stride in strides], name
    assert {"vit_tiny", "ceit_tiny", "convmixer_768_32", "primus_v3_small"} <= set(plain)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", SMALL)
def test_checkpointing_and_stochastic_depth_go_together_in_every_family(name, spatial_dims):
    """The same samples are dropped when activations are made again: gradients are the same, bit for bit."""
    x, found = batch(spatial_dims)[0], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        backbone = densevit.create_backbone(
            name,
            spatial_dims=spatial_dims,
            in_channels=1,
            checkpointing=checkpointing,
            drop_path=0.5,
            **SMALL[name],
        )
        torch.manual_seed(1)
        sum(feature.square().mean() for feature in backbone.train()(x)).backward()
        found.append({name: p.grad for name, p in backbone.named_parameters()})
    plain, recomputed = found
    for name in plain:
        torch.testing.assert_close(recomputed[name], plain[name], rtol=0, atol=0)


@pytest.mark.parametrize("name", SMALL)
def test_stochastic_depth_drops_something_in_training_and_nothing_else(name):
    torch.manual_seed(0)
    backbone = densevit.create_backbone(name, in_channels=1, drop_path=0.5, **SMALL[name])
    x = batch(2)[0]
    with torch.no_grad():
        first, second = (backbone.train()(x)[-1] for _ in range(2))
        assert not torch.equal(first, second)
        first, second = (backbone.eval()(x)[-1] for _ in range(2))
        assert torch.equal(first, second)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", SMALL)
def test_the_result_of_a_sample_does_not_depend_on_its_batch_in_any_family(name, spatial_dims):
    torch.manual_seed(0)
    options = dict(spatial_dims=spatial_dims, in_channels=1, **SMALL[name])
    backbone = randomize(densevit.create_backbone(name, **options))
    x = torch.randn(3, 1, *SIZES[spatial_dims])
    with torch.inference_mode():
        for together, alone in zip(backbone(x), backbone(x[1:2]), strict=True):
            torch.testing.assert_close(together[1:2], alone)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", SMALL)
def test_windows_over_a_larger_image_give_what_each_gives_alone_in_any_family(name, spatial_dims):
    model, (pair, _) = shallow_model(name, "all_mlp", spatial_dims), batch(spatial_dims)
    image = torch.cat(list(pair), dim=-1)  # two windows side by side
    found = densevit.sliding_window(model, image, roi_size=SIZES[spatial_dims], overlap=0.0, batch_size=2)
    with torch.inference_mode():
        expected = torch.cat([model(window[None])[0] for window in pair], dim=-1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
