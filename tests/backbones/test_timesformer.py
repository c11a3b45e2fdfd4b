"""TimeSformer: exact sizes, both forms of attention written as loops, a ViT's weights for clips, the released names."""

import pytest
import torch

import densevit
from densevit.analyze import record_attention, rollout
from densevit.backbones.timesformer import VARIANTS
from densevit.weights import load_weights, to_theirs
from tests.weights.common import equal
from tools.peers.common import randomize

# Name -> parameters of the classifier of 1000 classes: transformers' for 8 frames of 224 pixels and 400 classes
# (121,566,352), rows of classes, of frames and of cells counted by hand.
RELEASED = {
    "timesformer_base": 121_566_352 + 600 * 769,
    "timesformer_hr": 121_566_352 + 600 * 769 + (8 + 28**2 - 14**2) * 768,
    "timesformer_l": 121_566_352 + 600 * 769 + 88 * 768,
}
TINY = dict(dim=24, depth=2, num_heads=3, image_size=32, patch_size=8, taps=(0, 1))
CLIP = dict(spatial_dims=3, num_frames=4)


def clip(*size, channels=3):
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(1))


def small(name="timesformer_base", **options):
    torch.manual_seed(0)
    return randomize(densevit.create_backbone(name, **TINY | options))


@pytest.fixture(scope="module")
def plain_vit(tmp_path_factory):
    """A ViT with a class token, and a file of its weights by timm's names."""
    vit, path = small("vit_tiny", num_tokens=1), tmp_path_factory.mktemp("vit") / "deit.pth"
    torch.save(to_theirs(vit.state_dict(), "timm_vit"), path)
    return vit, path


@pytest.mark.parametrize("name", VARIANTS)
def test_the_sizes_are_those_of_the_releases(name):
    with torch.device("meta"):
        classifier = densevit.create_classifier(name, num_classes=1000, spatial_dims=3)
    assert sum(p.numel() for p in classifier.parameters()) == RELEASED[name]


def test_levels_keep_all_frames():
    backbone = small(**CLIP)
    assert backbone.out_strides == ((1, 8, 8),) * 2
    with torch.inference_mode():
        assert [tuple(x.shape) for x in backbone(clip(5, 30, 41))] == [(1, 24, 5, 4, 6)] * 2


def test_a_block_is_the_loops_of_the_paper():
    """A cell attends to itself in all frames, then each frame's tokens to each other; the class token gets the mean."""
    backbone = small(**CLIP).double()
    block, x = backbone.stages[0].blocks[0], backbone.stages[0].downsample(clip(3, 16, 24).double().movedim(1, -1))
    grid, first, after = x.grid.flatten(2, 3)[0], x.values[0, 0], block(x)  # (3, 6, 24), (24)
    over_time = grid.clone()
    for cell in range(6):
        time, x = block.temporal_attn, block.temporal_norm1(grid[:, cell])[None]
        over_time[:, cell] += time.fc(time.proj(time.mix(x)))[0]
    expected, of_class = over_time.clone(), []
    for frame in range(3):
        gained = block.attn(block.norm1(torch.cat([first[None], over_time[frame]]))[None])[0]
        expected[frame] += gained[1:]
        of_class.append(gained[0])
    expected = torch.cat([(first + sum(of_class) / 3)[None], expected.flatten(0, 1)])
    torch.testing.assert_close(after.values[0], expected + block.mlp(block.norm2(expected)))


def test_positions_are_those_of_the_nearest_frame_and_cell():
    embed = small(**CLIP).stages[0].downsample
    with torch.no_grad():
        given = embed(torch.zeros(1, 6, 48, 24, 3)).grid[0] - embed.proj.bias
    for frame, row, column in [(0, 0, 0), (2, 3, 1), (5, 5, 2)]:  # of 6 x 6 x 3, from 4 x 4 x 4
        cell = (row * 4 // 6) * 4 + column * 4 // 3
        expected = embed.position.pos_embed[0, 1 + cell] + embed.position.time_embed[0, frame * 4 // 6]
        torch.testing.assert_close(given[frame, row, column], expected)


def test_a_picture_is_what_a_vit_sees(plain_vit):
    vit, path = plain_vit
    of_pictures = small()
    assert load_weights(of_pictures, path).complete
    image = clip(32, 32)
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(of_pictures(image), vit(image), strict=True))


@pytest.mark.parametrize(("attention", "repeats"), [("divided", True), ("space", False)])
def test_with_weights_of_a_vit_each_frame_has_the_maps_of_the_vit(attention, repeats, plain_vit):
    vit, path = plain_vit
    of_clips = small(**CLIP, attention=attention)
    report = load_weights(of_clips, path, inflate="center")
    assert report.complete
    frames = clip(1, 32, 32).expand(-1, -1, 4, -1, -1) if repeats else clip(4, 32, 32)
    with torch.inference_mode():
        for of_clip, of_frames in zip(of_clips(frames), vit(frames[0].transpose(0, 1)), strict=True):
            torch.testing.assert_close(of_clip[0].transpose(0, 1), of_frames, rtol=0, atol=1e-6)


def test_with_weights_of_a_vit_frames_meet_in_the_class_token_alone(plain_vit):
    """The first block still gives the ViT's maps of each frame; its class token is the mean over frames."""
    vit, path = plain_vit
    of_clips, frames = small(**CLIP), clip(4, 32, 32)
    report = load_weights(of_clips, path, inflate="center")
    assert "backbone.stages.0.blocks.0.temporal_attn.fc.weight (24, 24) of zeros" in report.inflated
    with torch.inference_mode():
        level, of_frames = (
            m.features(x, blocks=[0]) for m, x in [(of_clips, frames), (vit, frames[0].transpose(0, 1))]
        )
        torch.testing.assert_close(level.maps[0][0].transpose(0, 1), of_frames.maps[0], rtol=0, atol=1e-6)
        assert not torch.allclose(of_clips(frames)[1][0].transpose(0, 1), vit(frames[0].transpose(0, 1))[1], atol=1e-3)


def test_attention_over_time_begins_with_nothing_and_learns():
    torch.manual_seed(0)
    backbone = densevit.create_backbone("timesformer_base", **CLIP, **TINY)
    image = clip(4, 32, 32)
    with torch.no_grad():
        assert torch.equal(backbone(image)[0][:, :, 1], backbone(image[:, :, [1, 1]])[0][:, :, 0])
    backbone(image)[1].square().mean().backward()
    assert all(block.temporal_attn.fc.weight.grad.any() for stage in backbone.stages for block in stage.blocks)


def test_attention_is_recorded_with_the_frames_and_cells_that_meet():
    with torch.no_grad(), record_attention(backbone := small(**CLIP)) as layers:
        backbone(clip(3, 16, 24))
    assert [layer.name.rpartition(".")[2] for layer in layers] == ["temporal_attn", "attn"] * 2
    time, space = layers[:2]
    assert (time.weights[0].shape, space.weights[0].shape) == ((1, 6, 3, 3, 3), (1, 3, 3, 7, 7))
    assert time.places[0].queries[5].tolist() == [1 + 5, 1 + 11, 1 + 17]
    assert space.places[0].keys[1].tolist() == [0, *range(7, 13)]
    rows = rollout(layers)
    assert rows.shape == (19, 19)
    torch.testing.assert_close(rows.sum(1), torch.ones(19))


def test_each_frame_has_a_class_token_of_its_own_where_frames_never_meet():
    backbone, image = small(**CLIP, attention="space"), clip(3, 16, 24)
    with torch.no_grad(), record_attention(backbone) as layers:
        found = backbone.features(image)
        tokens = [backbone.features(image[:, :, [frame]]).class_token for frame in range(3)]
    torch.testing.assert_close(found.class_token, sum(tokens) / 3)
    assert layers[0].places[0].keys[2].tolist() == [2, *range(3 + 12, 3 + 18)]


def test_one_program_serves_clips_of_any_size():
    backbone = small(**CLIP, depth=1, taps=(0,))
    rows, columns = (8 * torch.export.Dim(name, min=2, max=64) for name in "HW")
    sizes = {2: torch.export.Dim("D", min=2, max=64), 3: rows, 4: columns}
    program = torch.export.export(backbone, (clip(3, 24, 40),), dynamic_shapes=(sizes,)).module()
    for size in [(3, 24, 40), (6, 48, 32)]:
        with torch.no_grad():
            torch.testing.assert_close(program(clip(*size)), backbone(clip(*size)))


@pytest.mark.parametrize(("attention", "rank"), [("divided", 2), ("joint", 2), ("both", 3)])
def test_other_attention_is_refused(attention, rank):
    with pytest.raises(ValueError, match=f"attention must be .*, got '{attention}'"):
        densevit.create_backbone("timesformer_base", attention=attention, spatial_dims=rank)


def test_the_released_names_are_those_of_the_authors_and_a_longer_table_is_the_nearest_frames(tmp_path):
    classifier = randomize(densevit.create_classifier("timesformer_base", num_classes=3, **CLIP, **TINY))
    theirs = to_theirs(classifier.state_dict(), "facebook_timesformer")
    expected = {
        "cls_token": (1, 1, 24),
        "pos_embed": (1, 17, 24),
        "time_embed": (1, 4, 24),
        "patch_embed.proj.weight": (24, 3, 8, 8),
        "blocks.1.temporal_norm1.weight": (24,),
        "blocks.0.temporal_attn.qkv.bias": (72,),
        "blocks.0.temporal_attn.proj.weight": (24, 24),
        "blocks.1.temporal_fc.weight": (24, 24),
        "blocks.1.norm1.bias": (24,),
        "blocks.0.attn.qkv.weight": (72, 24),
        "blocks.0.mlp.fc2.weight": (24, 96),
        "norm.weight": (24,),
        "head.bias": (3,),
    }
    assert {name: tuple(theirs[name].shape) for name in expected} == expected
    torch.save({"model_state": {f"model.{name}": tensor for name, tensor in theirs.items()}}, tmp_path / "clip.pyth")
    again = densevit.create_classifier("timesformer_base", num_classes=3, **CLIP, **TINY)
    report = load_weights(again, tmp_path / "clip.pyth")
    assert (report.source, report.complete, report.ignored) == ("facebook_timesformer", True, ())
    assert equal(again, classifier)
    longer = densevit.create_backbone("timesformer_base", spatial_dims=3, num_frames=8, **TINY)
    assert load_weights(longer, tmp_path / "clip.pyth").complete
    assert torch.equal(longer.stages[0].downsample.position.time_embed, theirs["time_embed"].repeat_interleave(2, 1))
    with pytest.raises(ValueError, match="its weights are 3D, the model is 2D"):
        load_weights(small(), tmp_path / "clip.pyth")
