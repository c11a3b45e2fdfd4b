"""CeiT: no other package has it, so the whole network is written out here by the authors' names."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.weights import load_weights, to_theirs
from tests.weights.common import equal
from tools.peers.common import randomize

HEADS, DEPTH = 3, 4


@pytest.mark.parametrize(
    ("name", "image_size", "number"),
    [
        ("ceit_tiny", 224, 6_356_904),
        ("ceit_small", 224, 24_204_840),
        ("ceit_base", 224, 94_405_416),
        ("ceit_tiny", 384, 6_429_864),
        ("ceit_small", 384, 24_350_760),
    ],
)
def test_the_sizes_are_those_of_the_authors_code(name, image_size, number):
    with torch.device("meta"):
        classifier = densevit.create_classifier(name, num_classes=1000, image_size=image_size)
    assert sum(p.numel() for p in classifier.parameters()) == number


def small(**options):
    torch.manual_seed(0)
    shape = dict(dim=24, num_heads=HEADS, depth=DEPTH, image_size=(32, 48)) | options
    return randomize(densevit.create_classifier("ceit_tiny", num_classes=4, **shape)).double()


def written_out(tensors, image):
    """Logits, and the cells after each block (B, N, C), of an image that has the size of the table."""
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(("blocks.", "lca."))}
    image = F.conv2d(image, own["i2t.backbone.conv.weight"], stride=2, padding=3)
    image = F.max_pool2d(batch_norm(image, own, "i2t.backbone.bn"), 3, 2, 1)
    cells = F.conv2d(image, own["i2t.proj.weight"], own["i2t.proj.bias"], stride=4)
    size = cells.shape[2:]
    x = torch.cat([own["cls_token"].expand(len(cells), -1, -1), cells.flatten(2).mT], dim=1) + own["pos_embed"]
    class_tokens, found = [], []
    for k in range(DEPTH):
        block = {name.removeprefix(f"blocks.{k}."): t for name, t in tensors.items() if name.startswith(f"blocks.{k}.")}
        y = layer_norm(x, block, "norm1")
        x = x + attention(y, y, block)
        y = layer_norm(x, block, "norm2")
        x = x + torch.cat([y[:, :1], locally_enhanced(y[:, 1:], size, block)], dim=1)
        class_tokens.append(x[:, 0])
        found.append(x[:, 1:])
    lca = {name.removeprefix("lca."): tensor for name, tensor in tensors.items() if name.startswith("lca.")}
    tokens = torch.stack(class_tokens, dim=1) + own["pos_layer_embed"]
    y = layer_norm(tokens, lca, "norm1")
    token = tokens[:, -1:] + attention(y[:, -1:], y, lca)
    token = token + linear(F.gelu(linear(layer_norm(token, lca, "norm2"), lca, "mlp.fc1")), lca, "mlp.fc2")
    return linear(layer_norm(token[:, 0], own, "norm"), own, "head"), found


def attention(asking, asked, own):
    """One head and one query at a time."""
    weights, biases = own["attn.qkv.weight"].chunk(3), own["attn.qkv.bias"].chunk(3)
    q, k, v = (F.linear(x, w, b) for x, w, b in zip((asking, asked, asked), weights, biases, strict=True))
    heads = []
    for part in torch.arange(q.shape[-1]).chunk(HEADS):
        rows = [
            ((q[:, n : n + 1, part] * len(part) ** -0.5) @ k[..., part].mT).softmax(-1) @ v[..., part]
            for n in range(q.shape[1])
        ]
        heads.append(torch.cat(rows, dim=1))
    return linear(torch.cat(heads, dim=-1), own, "attn.proj")


def locally_enhanced(cells, size, own):
    image = cells.mT.unflatten(2, size)
    image = F.gelu(batch_norm(convolution(image, own, "leff.conv1"), own, "leff.bn1"))
    groups = len(own["leff.conv2.weight"])
    image = F.gelu(batch_norm(convolution(image, own, "leff.conv2", padding=1, groups=groups), own, "leff.bn2"))
    return batch_norm(convolution(image, own, "leff.conv3"), own, "leff.bn3").flatten(2).mT


def convolution(x, own, name, **options):
    return F.conv2d(x, own[f"{name}.weight"], own[f"{name}.bias"], **options)


def batch_norm(x, own, name):
    mean, variance, weight, bias = (
        own[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def layer_norm(x, own, name):
    return F.layer_norm(x, x.shape[-1:], own[f"{name}.weight"], own[f"{name}.bias"], eps=1e-6)


def linear(x, own, name):
    return F.linear(x, own[f"{name}.weight"], own[f"{name}.bias"])


def test_every_level_and_the_logits_are_those_of_the_written_out_network():
    classifier = small()
    image = torch.randn(2, 3, 32, 48, dtype=torch.double)
    with torch.no_grad():
        logits, cells = written_out(to_theirs(classifier.state_dict(), "coeusguo_ceit"), image)
        torch.testing.assert_close(classifier(image), logits, rtol=1e-10, atol=1e-10)
        found = classifier.backbone.features(image, blocks=range(DEPTH))
    for level, expected in zip(found.levels, cells, strict=True):
        torch.testing.assert_close(level.grid.flatten(1, -2), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (40, 83)), (3, (17, 17, 40))])
def test_it_is_of_any_rank_and_size(spatial_dims, size):
    classifier = small(spatial_dims=spatial_dims, image_size=32)
    with torch.no_grad():
        assert classifier(torch.randn(2, 3, *size, dtype=torch.double)).shape == (2, 4)


def test_files_with_the_names_of_the_authors_load(tmp_path):
    classifier = small()
    torch.save(to_theirs(classifier.state_dict(), "coeusguo_ceit"), tmp_path / "ceit.pth")
    again = small(taps=(0, 3))
    report = load_weights(again, tmp_path / "ceit.pth")
    assert (report.source, report.complete, report.ignored) == ("coeusguo_ceit", True, ())
    assert equal(again.class_head, classifier.class_head)
    deeper = densevit.create_backbone("ceit_tiny", dim=24, num_heads=HEADS, depth=DEPTH + 1, image_size=(32, 48))
    with pytest.raises(ValueError, match="does not fit this model"):
        load_weights(deeper, tmp_path / "ceit.pth")
