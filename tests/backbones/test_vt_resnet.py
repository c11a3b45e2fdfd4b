"""VT-ResNet: no other package has it, so its last stage is written out here pixel by pixel and token by token."""

import pytest
import torch

import densevit
from densevit.weights import describe, load_weights, to_theirs
from tests.weights.common import backbone, equal
from tools.peers.common import picture, randomize

SMALL = dict(dim=8, depths=(1, 1, 1, 2), num_tokens=3, token_dim=24, groups=4)


@pytest.mark.parametrize(
    ("name", "number", "published"),
    [
        ("vt_resnet18", 12_286_504, 11.6),
        ("vt_resnet34", 21_937_960, 21.8),
        ("vt_resnet50", 22_691_880, 21.4),
        ("vt_resnet101", 41_684_008, 41.5),
    ],
)
def test_the_sizes_are_near_those_of_the_paper(name, number, published):
    with torch.device("meta"):
        classifier = densevit.create_classifier(name, num_classes=1000)
    assert sum(p.numel() for p in classifier.parameters()) == number
    assert number / 1e6 == pytest.approx(published, rel=0.061)


def small(**options):
    torch.manual_seed(0)
    model = densevit.create_classifier("vt_resnet18", num_classes=4, **SMALL | options)
    return randomize(model).double()


def matrix(layer):
    """(C_in, C_out) of a linear layer, in groups or not, without a bias."""
    return torch.block_diag(*layer.weight) if layer.weight.ndim == 3 else layer.weight.mT


def softmax(logits):
    exponentials = [logit.exp() for logit in logits]
    return [each / sum(exponentials) for each in exponentials]


def weighted(weights, vectors):
    return sum(weight * vector for weight, vector in zip(weights, vectors, strict=True))


def written_out(blocks, pixels):
    """The pixels [(C)] and tokens [(T)] that leave the last block, of one image."""
    tokens = []
    for block in blocks:
        tokenizer, transformer, projector = block.tokenizer, block.transformer, block.projector
        filters = [t @ matrix(tokenizer.query) for t in tokens] if tokens else list(tokenizer.filters.weight)
        means = [weighted(softmax([x @ w for x in pixels]), pixels) for w in filters]  # over pixels
        tokens = [mean @ matrix(tokenizer.embed.project) for mean in means]
        keys, queries = ([t @ matrix(layer) for t in tokens] for layer in (transformer.key, transformer.query))
        attended = [weighted(softmax([q @ k for k in keys]), tokens) for q in queries]  # over tokens
        tokens = [t + a for t, a in zip(tokens, attended, strict=True)]
        tokens = [t + (t @ matrix(transformer.fc1)).relu() @ matrix(transformer.fc2) for t in tokens]
        if projector is not None:
            keys, values = ([t @ matrix(layer) for t in tokens] for layer in (projector.key, projector.value))
            queries = [x @ matrix(projector.query) for x in pixels]
            given = [weighted(softmax([q @ k for k in keys]), values) for q in queries]  # over tokens
            pixels = [x + g for x, g in zip(pixels, given, strict=True)]
    return torch.stack(pixels), torch.stack(tokens)


@pytest.mark.parametrize("size", [(33, 50), (16, 33, 20)], ids=str)
def test_the_last_map_and_the_logits_are_those_of_the_written_out_equations(size):
    classifier, image = small(spatial_dims=len(size)), torch.randn(1, 3, *size, dtype=torch.double)
    torch.manual_seed(0)
    dense = randomize(densevit.create_backbone("vt_resnet18", spatial_dims=len(size), **SMALL)).double()
    with torch.no_grad():
        *_, before, after = dense(image)
        pixels, _ = written_out(dense.stages[-1].blocks, list(before.flatten(2)[0].mT))
        torch.testing.assert_close(after.flatten(2)[0].mT, pixels, rtol=1e-10, atol=1e-10)
        *_, before, _ = classifier.backbone(image)
        _, tokens = written_out(classifier.backbone.stages[-1].blocks, list(before.flatten(2)[0].mT))
        torch.testing.assert_close(classifier(image)[0], classifier.class_head.fc(tokens.mean(0)))


def test_the_last_two_levels_share_the_stride_of_16():
    found = densevit.create_backbone("vt_resnet18", **SMALL)
    assert (found.out_channels, found.out_strides) == ((8, 16, 32, 32), (4, 8, 16, 16))
    assert [tuple(x.shape[2:]) for x in found(picture(65, 80))][2:] == [(5, 5), (5, 5)]


def test_tokens_have_no_order():
    model, image, order = small(), picture(48, 64).double(), [2, 0, 1]
    filters = model.backbone.stages[-1].blocks[0].tokenizer.filters.weight
    with torch.no_grad():
        before, logits = model.forward_features(image).levels[-1].visual, model(image)
        filters.copy_(filters[order])
        after = model.forward_features(image).levels[-1].visual
        torch.testing.assert_close(after.values, before.values[:, order])
        torch.testing.assert_close(after.maps, before.maps[:, order])
        torch.testing.assert_close(model(image), logits)


def test_maps_of_tokens_sum_to_one_in_every_block():
    levels = small().backbone.features(picture(48, 64).double(), blocks=range(5)).levels
    assert [level.visual is None for level in levels] == [True, True, True, False, False]
    for level in levels[3:]:
        torch.testing.assert_close(level.visual.maps.sum((-2, -1)), torch.ones(1, 3, dtype=torch.double))


def test_a_classifier_has_no_parameter_that_its_logits_do_not_need():
    model = small()
    model(picture(48, 64).double()).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert model.backbone.stages[-1].blocks[-1].projector is None


def test_torchvisions_resnet_starts_the_shared_stages_where_the_source_is_named(tmp_path):
    resnet = backbone("resnet18", dim=8, depths=(1, 1, 1, 1))
    torch.save(to_theirs(resnet.state_dict(), "torchvision"), tmp_path / "resnet18.pth")
    model = backbone("vt_resnet18", seed=1, **SMALL)
    with pytest.raises(ValueError, match="does not fit this model"):
        load_weights(model, tmp_path / "resnet18.pth")
    report = load_weights(model, tmp_path / "resnet18.pth", source="torchvision_vt_resnet")
    assert report.complete
    for stage, other in zip(model.stages[:3], resnet.stages[:3], strict=True):
        assert equal(stage, other)
    new = [f"backbone.stages.3.{name}" for name in model.stages[3].state_dict()]
    assert sorted(report.fresh) == sorted(new)
    assert all(name.startswith("layer4.") for name in report.ignored)


def test_a_classifier_starts_a_backbone_and_comes_from_it_without_the_last_projector(tmp_path):
    classifier = small().float()
    torch.save(classifier.state_dict(), tmp_path / "classifier.pth")
    assert "vt_resnet18" in describe(densevit.create_classifier("vt_resnet18", num_classes=4).state_dict()).relatives
    model = backbone("vt_resnet18", seed=1, **SMALL)
    report = load_weights(model, tmp_path / "classifier.pth")
    assert report.complete
    last = "backbone.stages.3.blocks.1.projector."
    assert report.fresh == tuple(f"{last}{name}.weight" for name in ("query", "key", "value"))
    torch.save(model.state_dict(), tmp_path / "backbone.pth")
    again = densevit.create_classifier("vt_resnet18", num_classes=4, **SMALL)
    assert load_weights(again, tmp_path / "backbone.pth", new_head=True).complete
    assert equal(again.backbone, classifier.backbone)
