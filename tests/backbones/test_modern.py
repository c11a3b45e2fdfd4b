"""DINOv3: programs of any size, attention that is recorded with its angles and its bias."""

import torch
import torch.nn.functional as F

import densevit
from densevit.blocks.recorded import record_attention
from tools.peers.common import picture, randomize

DINOV3 = dict(dim=24, depth=2, num_heads=2, patch_size=8, taps=(0, 1))


def test_a_program_of_any_size_gives_the_maps_of_the_model():
    model = randomize(densevit.create_backbone("dinov3_vit_small", spatial_dims=3, in_channels=1, **DINOV3))
    sizes = dict.fromkeys((2, 3, 4), torch.export.Dim.AUTO)
    program = torch.export.export(model, (torch.rand(1, 1, 16, 32, 40),), dynamic_shapes=(sizes,))
    image = torch.rand(1, 1, 24, 48, 32)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(image), model(image), rtol=1e-4, atol=1e-5)


def test_recorded_attention_in_a_volume_counts_tokens_before_the_grid_once_for_each_slice():
    model = randomize(densevit.create_backbone("dinov3_vit_small", spatial_dims=3, in_channels=1, **DINOV3))
    with torch.no_grad(), record_attention(model) as layers:
        model(torch.zeros(1, 1, 32, 16, 16))
    first = layers[0]
    weights = first.weights[0][0, 0]  # (H, T + N, T + N)
    assert (first.size, first.prefix) == ((4, 2, 2), ("class", *["register"] * 4))
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]))
    attention = model.stages[0].blocks[0].attn
    with torch.no_grad():
        torch.nn.init.zeros_(attention.qkv.weight)
        torch.nn.init.zeros_(attention.qv_bias)
        with record_attention(model) as layers:
            model(torch.zeros(1, 1, 32, 16, 16))
    row = layers[0].weights[0][0, 0, 0, 0]  # all logits are zero but for the bias
    torch.testing.assert_close(row[:5], 4 * row[5:10])


def test_without_inflation_all_axes_of_a_volume_share_the_angles():
    model = densevit.create_backbone("dinov3_vit_small", spatial_dims=3, in_channels=1, inflated=False, **DINOV3)
    assert not any("rates" in name for name, _ in model.named_parameters())
    randomize(model)
    with torch.no_grad():
        first, second = model(torch.ones(1, 1, 16, 16, 16))[-1].unbind(2)
    assert not torch.allclose(first, second, atol=1e-3)


def test_zeros_fill_the_last_patches_of_convnext():
    model = randomize(densevit.create_backbone("dinov3_convnext_tiny", dims=(8, 16, 24, 32), depths=(1, 2, 2, 1)))
    image = picture(37, 50)
    with torch.inference_mode():
        x, expected = image.movedim(1, -1), []
        for i, stage in enumerate(model.stages):
            stride, down = (4, 2, 2, 2)[i], stage.downsample
            x = x if i == 0 else down.norm(x)
            x = F.pad(x, (0, 0, 0, -x.shape[2] % stride, 0, -x.shape[1] % stride))
            x = down.proj(x.movedim(-1, 1)).movedim(1, -1)
            x = down.norm(x) if i == 0 else x
            for block in stage.blocks:
                x = block(x)
            expected.append(model.out_norms[i](x).movedim(-1, 1))
        torch.testing.assert_close(model(image), expected, rtol=1e-5, atol=1e-5)
