"""MaskCLIP's reading of single cells, as its equations in loops; classes by their names."""

from math import exp, log

import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.clip.prompts import class_embeddings
from densevit.clip.tokenizer import learn_tokenizer
from densevit.clip.zero_shot import ZeroShotClassifier, dense_state
from tools.peers.common import randomize

TEXTS = ["a photo of a road.", "a photo of a car.", "a drawing of a person."]
SMALL = {
    "clip_vit_base_p16": dict(dim=48, depth=4, num_heads=3, image_size=64),
    "clip_resnet50": dict(dim=8, depths=(1, 1, 1, 1), image_size=64),
    "mit_b0": {},
}


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(TEXTS, merges=20)


def clip(backbone, tokenizer, **options):
    text = dict(dim=16, depth=1, num_heads=2, context=12, vocab=tokenizer.size)
    return randomize(densevit.create_clip(backbone, width=10, text=text, **SMALL[backbone] | options)).eval()


def segmentor(model, backbone, classes, **refined):
    described, state = dense_state(model, classes, **refined)
    described["backbone_options"] = SMALL[backbone] | described["backbone_options"]
    made = densevit.create_segmentor(backbone, **described)
    made.load_state_dict(state)
    return made.eval()


def test_each_cell_of_the_vit_keeps_its_value_and_all_else_of_the_last_block(tokenizer):
    model, classes = clip("clip_vit_base_p16", tokenizer), F.normalize(torch.randn(2, 10), dim=1)
    image = torch.randn(1, 3, 64, 96)
    backbone, last = model.backbone, model.backbone.stages[-1].blocks[-1]
    before = backbone.features(image, blocks=[2], norm=False).levels[0]
    *_, of_value = last.attn.qkv.weight.chunk(3)
    *_, bias = last.attn.qkv.bias.chunk(3)
    expected = torch.empty(2, 4, 6)
    for row in range(4):
        for column in range(6):
            x = before.grid[0, row, column]
            x = x + last.attn.proj(of_value @ last.norm1(x) + bias)
            x = x + last.mlp(last.norm2(x))
            feature = model.class_head.fc(backbone.out_norms[-1](x))
            for k in range(2):
                expected[k, row, column] = model.scale * (feature @ classes[k]) / feature.norm()
    found = segmentor(model, "clip_vit_base_p16", classes).forward_logits(image)[0]
    assert torch.allclose(found, expected, atol=1e-4)


def test_where_an_image_is_one_token_that_is_what_the_ordinary_block_gives():
    options = SMALL["clip_vit_base_p16"]
    dense = densevit.create_backbone("clip_vit_base_p16", dense=True, **options)
    plain = densevit.create_backbone("clip_vit_base_p16", **options)
    plain.load_state_dict(dense.state_dict())
    one, many = torch.randn(1, 1, 48), torch.randn(1, 5, 48)
    last, other = dense.stages[-1].blocks[-1], plain.stages[-1].blocks[-1]
    assert torch.allclose(last(one), other(one), atol=1e-6)
    assert not torch.allclose(last(many), other(many), atol=1e-3)


def test_each_cell_of_the_resnet_goes_through_the_layers_of_the_pooling(tokenizer):
    model, classes = clip("clip_resnet50", tokenizer), F.normalize(torch.randn(3, 10), dim=1)
    image, head = torch.randn(1, 3, 64, 64), model.class_head
    cells = model.backbone(image)[-1][0]
    found = segmentor(model, "clip_resnet50", classes).forward_logits(image)[0]
    width = len(cells)
    for row in range(2):
        for column in range(2):
            value = head.kv.weight[width:] @ cells[:, row, column] + head.kv.bias[width:]
            feature = F.normalize(head.fc(value), dim=0)
            assert torch.allclose(found[:, row, column], model.scale * classes @ feature, atol=1e-4)


def test_the_mean_of_a_backbone_without_class_token_is_read_by_cells_and_a_class_token_is_refused(tokenizer):
    model, classes = clip("mit_b0", tokenizer), F.normalize(torch.randn(3, 10), dim=1)
    assert segmentor(model, "mit_b0", classes)(torch.randn(1, 3, 64, 96)).shape == (1, 3, 64, 96)
    text = dict(dim=16, depth=1, num_heads=2, context=12, vocab=tokenizer.size)
    vit = densevit.create_clip("deit_tiny", width=10, text=text, dim=48, depth=4, num_heads=3)
    with pytest.raises(ValueError, match="zero-shot segmentation reads single cells"):
        dense_state(vit, classes)


def shares_of(logits):
    """(K, H, W) -> for each cell the probability of each class, by its definition."""
    cells = logits.flatten(1).T.tolist()
    return [[exp(value) / sum(exp(other) for other in cell) for value in cell] for cell in cells]


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["clip_vit_base_p16", "clip_resnet50"])
def test_keys_smooth_the_classes_of_cells_as_in_the_equation_of_maskclip(tokenizer, backbone):
    """pred_i = sum over j of cos(k_i, k_j) pred_j, where the likeliest class of a cell has less than the threshold."""
    model, classes = clip(backbone, tokenizer), F.normalize(torch.randn(3, 10), dim=1)
    image = torch.randn(1, 3, 64, 128)
    before = shares_of(segmentor(model, backbone, classes).forward_logits(image)[0])
    threshold = sum(sorted(map(max, before))[len(before) // 2 - 1 :][:2]) / 2  # between two cells
    if backbone == "clip_resnet50":
        layer, cells = model.class_head.kv, model.backbone(image)[-1][0]
        keys = [layer.weight.chunk(2)[0] @ cell + layer.bias.chunk(2)[0] for cell in cells.flatten(1).T]
    else:
        last = model.backbone.stages[-1].blocks[-1]
        tokens = model.backbone.features(image, blocks=[2], norm=False).levels[0].grid[0].flatten(0, 1)
        layer = last.attn.qkv
        keys = [layer.weight.chunk(3)[1] @ last.norm1(token) + layer.bias.chunk(3)[1] for token in tokens]
    for limit in (threshold, 1.0):
        found = segmentor(model, backbone, classes, key_smoothing=limit).forward_logits(image)[0].flatten(1).T
        for i, own in enumerate(before):
            expected = own
            if max(own) <= limit:
                cosines = [float(keys[i] @ key / keys[i].norm() / key.norm()) for key in keys]
                sums = [sum(c * other[k] for c, other in zip(cosines, before, strict=True)) for k in range(3)]
                expected = [value / sum(map(abs, cosines)) for value in sums]
            expected = [log(max(value, 1e-6)) for value in expected]
            assert found[i].tolist() == pytest.approx(expected, abs=2e-3), i
        assert any(max(own) <= limit for own in before)


def test_a_class_that_no_cell_is_sure_of_is_left_out_unless_all_are(tokenizer):
    model, classes = clip("clip_vit_base_p16", tokenizer), F.normalize(torch.randn(3, 10), dim=1)
    images = torch.randn(2, 3, 64, 96)
    before = segmentor(model, "clip_vit_base_p16", classes).forward_logits(images)
    best = [[max(column) for column in zip(*shares_of(logits), strict=True)] for logits in before]
    threshold = (sorted(best[0])[1] + sorted(best[0])[2]) / 2  # which one class of the first image reaches
    found = segmentor(model, "clip_vit_base_p16", classes, prompt_denoising=threshold).forward_logits(images)
    for image, reached in enumerate(best):
        left = [k for k in range(3) if reached[k] >= threshold] or [0, 1, 2]
        for k in range(3):
            kept = before[image, k] if k in left else torch.full_like(before[image, k], -100)
            assert torch.allclose(found[image, k], kept, atol=1e-5)
    assert len([k for k in range(3) if best[0][k] >= threshold]) == 1


def test_refinements_that_cannot_be_are_refused_in_a_sentence(tokenizer):
    classes = F.normalize(torch.randn(3, 10), dim=1)
    with pytest.raises(ValueError, match="key_smoothing compares the keys of a last attention, which this image"):
        dense_state(clip("mit_b0", tokenizer), classes, key_smoothing=1.0)
    with pytest.raises(ValueError, match="two blocks, and this encoder has one"):
        dense_state(clip("clip_vit_base_p16", tokenizer, depth=1), classes, key_smoothing=1.0)
    with pytest.raises(ValueError, match="prompt_denoising must be a probability from 0 to 1, got 50"):
        segmentor(clip("clip_vit_base_p16", tokenizer), "clip_vit_base_p16", classes, prompt_denoising=50)


def test_classes_are_means_over_templates_of_vectors_of_length_1(tokenizer):
    model, templates = clip("mit_b0", tokenizer), ("a photo of a {}.", "a drawing of a {}.")
    found = class_embeddings(model, ["road", "car"], tokenizer, templates=templates)
    for k, name in enumerate(("road", "car")):
        each = [model.text(tokenizer([text.format(name)], context=12))[0] for text in templates]
        mean = sum(vector / vector.norm() for vector in each) / 2
        assert torch.allclose(found[k], mean / mean.norm(), atol=1e-6)
    image = torch.randn(2, 3, 64, 64)
    logits = ZeroShotClassifier(model, found)(image)
    assert torch.allclose(logits, model.scale * F.normalize(model(image), dim=1) @ found.mT, atol=1e-5)
    with pytest.raises(ValueError, match=r"templates must be texts with \{\} in the place of a class name, got 'road'"):
        class_embeddings(model, ["road"], tokenizer, templates=["road"])


def test_a_learned_vocabulary_reads_every_text_and_ends_it_with_its_highest_number(tokenizer):
    rows = tokenizer(["a photo of a road.", "Straße 東京", "one two three four five six seven"], context=12)
    assert rows.max(1).values.tolist() == [tokenizer.size - 1] * 3
    assert rows[:, 0].tolist() == [tokenizer.size - 2] * 3
    assert rows.shape[1] == 12
    assert (tokenizer(["road"], context=12)).shape[1] < len("road") + 2
