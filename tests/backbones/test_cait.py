"""CaiT: exact sizes, talking heads and class attention written as loops, the parts of its classifier."""

import pytest
import torch
from torch import nn

import densevit
from densevit.backbones.cait import VARIANTS, TalkingHeads
from densevit.blocks.class_attention import ClassAttention, ClassBlock
from densevit.blocks.recorded import record_attention
from densevit.weights import load_weights, to_theirs
from tests.weights.common import equal
from tools.peers.common import randomize

# Name -> size of the images for which it was published, parameters of the classifier of 1000 classes.
RELEASED = {
    "cait_xxs24": (224, 11_956_264),
    "cait_xxs36": (224, 17_299_720),
    "cait_xs24": (384, 26_670_088),
    "cait_s24": (224, 46_916_200),
    "cait_s36": (384, 68_366_632),
    "cait_m36": (384, 271_221_352),
    "cait_m48": (448, 356_460_520),
}
# Those of the paper's table alone, in millions, at 224 pixels.
PRINTED = {"cait_xs36": 38.6, "cait_s48": 89.5, "cait_m24": 185.9}


def parameters(name, image_size=224):
    with torch.device("meta"):
        classifier = densevit.create_classifier(name, num_classes=1000, image_size=image_size)
    return sum(p.numel() for p in classifier.parameters())


def test_every_variant_is_counted():
    assert {*RELEASED, *PRINTED} == set(VARIANTS)


@pytest.mark.parametrize("name", RELEASED)
def test_the_sizes_are_those_of_the_releases(name):
    size, expected = RELEASED[name]
    assert parameters(name, size) == expected


@pytest.mark.parametrize("name", PRINTED)
def test_the_sizes_without_a_release_are_those_of_the_paper(name):
    assert parameters(name) / 1e6 == pytest.approx(PRINTED[name], abs=0.15)


def test_talking_heads_are_the_loops_of_the_paper():
    torch.manual_seed(0)
    attend = randomize(TalkingHeads(2)).double()
    q, k, v = torch.randn(3, 1, 2, 3, 4, dtype=torch.double)  # 2 heads, 3 tokens, 4 channels
    before, after = attend.proj_l, attend.proj_w
    for query in range(3):
        logits = [[(q[0, h, query] @ k[0, h, key]) / 2 for key in range(3)] for h in range(2)]
        mixed = [[sum(before.weight[h, g] * logits[g][key] for g in range(2)) for key in range(3)] for h in range(2)]
        maps = [torch.stack([logit + before.bias[h] for logit in mixed[h]]).softmax(0) for h in range(2)]
        for h in range(2):
            weights = sum(after.weight[h, g] * maps[g] for g in range(2)) + after.bias[h]
            expected = sum(weights[key] * v[0, h, key] for key in range(3))
            torch.testing.assert_close(attend(q, k, v)[0, h, query], expected)
            torch.testing.assert_close(attend.weights(q, k)[0, h, query], weights)


def test_strips_of_queries_give_what_all_at_once_do():
    torch.manual_seed(0)
    attend = randomize(TalkingHeads(4)).double()
    q, k, v = torch.randn(3, 2, 4, 150, 8, dtype=torch.double)
    torch.testing.assert_close(attend(q, k, v), attend.weights(q, k) @ v)


def test_class_attention_asks_for_the_class_token_alone():
    torch.manual_seed(0)
    attention = randomize(ClassAttention(8, num_heads=2))
    tokens = torch.randn(2, 7, 8)
    everything = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    everything.load_state_dict({
        "in_proj_weight": torch.cat([attention.q.weight, attention.kv.weight]),
        "in_proj_bias": torch.cat([attention.q.bias, attention.kv.bias]),
        "out_proj.weight": attention.proj.weight,
        "out_proj.bias": attention.proj.bias,
    })  # fmt: skip
    expected, _ = everything(tokens, tokens, tokens)
    torch.testing.assert_close(attention(tokens), expected[:, :1])


def test_a_class_block_leaves_the_cells_as_they_are():
    torch.manual_seed(0)
    block = randomize(ClassBlock(8, num_heads=2, layer_scale=1.0))
    tokens = torch.randn(2, 7, 8)
    after = block(tokens)
    assert torch.equal(after[:, 1:], tokens[:, 1:])
    assert not torch.allclose(after[:, :1], tokens[:, :1])


def small(**options):
    torch.manual_seed(0)
    shape = dict(dim=16, depth=4, image_size=32, patch_size=8) | options
    return randomize(densevit.create_classifier("cait_xxs24", num_classes=3, **shape))


@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (40, 23)), (3, (8, 17, 24))])
def test_the_classifier_and_what_its_class_token_looks_at_are_of_any_rank(spatial_dims, size):
    classifier = small(spatial_dims=spatial_dims)
    with torch.no_grad(), record_attention(classifier) as layers:
        assert classifier(torch.randn(2, 3, *size)).shape == (2, 3)
    cells = torch.tensor([-(-s // 8) for s in size]).prod().item()
    assert [layer.weights[0].shape for layer in layers] == [(2, 1, 4, cells, cells)] * 4 + [(2, 1, 4, 1, 1 + cells)] * 2
    assert all(layer.places[0].keys.shape == (1, layer.weights[0].shape[-1]) for layer in layers)


def test_branches_begin_small_and_one_rate_drops_in_every_block():
    backbone = densevit.create_backbone("cait_s36", dim=16, num_heads=2, depth=4, drop_path=0.25)
    blocks = [block for stage in backbone.stages for block in stage.blocks]
    assert {block.drop_path.p for block in blocks} == {0.25}
    scales = torch.cat([scale.gamma for block in blocks for scale in (block.ls1, block.ls2)])
    assert torch.equal(scales, torch.full_like(scales, 1e-6))


def test_the_released_names_are_those_of_the_authors(tmp_path):
    classifier = small()
    theirs = to_theirs(classifier.state_dict(), "facebook_cait")
    expected = {
        "cls_token": (1, 1, 16),
        "pos_embed": (1, 16, 16),
        "patch_embed.proj.weight": (16, 3, 8, 8),
        "blocks.3.gamma_1": (16,),
        "blocks.0.attn.qkv.bias": (48,),
        "blocks.0.attn.proj_l.bias": (4,),
        "blocks.0.attn.proj_w.weight": (4, 4),
        "blocks_token_only.1.gamma_2": (16,),
        "blocks_token_only.0.attn.k.weight": (16, 16),
        "blocks_token_only.0.mlp.fc1.weight": (64, 16),
        "norm.weight": (16,),
        "head.bias": (3,),
    }
    assert {name: tuple(theirs[name].shape) for name in expected} == expected
    torch.save({"model": {f"module.{name}": tensor for name, tensor in theirs.items()}}, tmp_path / "XXS24.pth")
    again = densevit.create_classifier("cait_xxs24", num_classes=3, dim=16, depth=4, image_size=32, patch_size=8)
    report = load_weights(again, tmp_path / "XXS24.pth")
    assert (report.source, report.complete, report.ignored) == ("facebook_cait", True, ())
    assert equal(again, classifier)
    alone = densevit.create_backbone("cait_xxs24", dim=16, depth=4, image_size=32, patch_size=8)
    assert load_weights(alone, tmp_path / "XXS24.pth").complete
    with pytest.raises(ValueError, match="does not fit this model"):
        load_weights(densevit.create_backbone("vit_tiny", dim=16, num_heads=2, depth=4), tmp_path / "XXS24.pth")
