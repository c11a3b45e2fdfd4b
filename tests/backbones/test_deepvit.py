"""DeepViT: no other package has it, so blocks and stem are written out here; training and evaluation differ."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.backbones.deepvit import VARIANTS, ReAttend
from densevit.blocks.recorded import record_attention
from densevit.weights import load_weights, to_theirs
from tests.weights.common import equal
from tools.peers.common import randomize

# Millions of parameters of the classifier of 1000 classes, as the authors print them where they fit their code: their
# paper has 55 for deepvit_l, whose code makes 58.9.
PRINTED = {"deepvit_16b": 24.5, "deepvit_24b": 36.3, "deepvit_32b": 48.1}
COUNTED = {
    "deepvit_16b": 24_426_664,
    "deepvit_24b": 36_261_448,
    "deepvit_32b": 48_096_232,
    "deepvit_s": 27_312_632,
    "deepvit_l": 58_883_708,
}


def count_by_hand(name):
    """Of the classifier for 224 pixels."""
    dim, depth = VARIANTS[name]["dim"], VARIANTS[name]["depth"]
    block = 4 * dim * dim + 4 * dim + 2 * 3 * dim * dim + 4 * dim + 4 * dim  # attention, Mlp of ratio 3, norms
    mixing = VARIANTS[name].get("num_mixed", depth) * (12 * 12 + 12 + 2 * 12)
    stem = 3 * 7 * 7 * 64 + 64 * 64 * 3 * 3 + 4 * 64 + 64 * 8 * 8 * dim + dim
    patches = stem if "conv_stem" in VARIANTS[name] else 3 * 16 * 16 * dim + dim
    return patches + (1 + 197) * dim + depth * block + mixing + 2 * dim + 1000 * (dim + 1)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_sizes_are_those_of_the_authors_code(name):
    with torch.device("meta"):
        classifier = densevit.create_classifier(name, num_classes=1000)
    number = sum(p.numel() for p in classifier.parameters())
    assert number == COUNTED[name] == count_by_hand(name)
    assert number / 1e6 == pytest.approx(PRINTED.get(name, number / 1e6), abs=0.1)


def small(kind, **options):
    torch.manual_seed(0)
    shape = dict(dim=24, num_heads=3, depth=4, image_size=48) | options
    shape |= dict(num_mixed=2) if "num_mixed" in VARIANTS[kind] else {}
    return randomize(densevit.create_classifier(kind, num_classes=3, **shape)).double()


def written_out(tensors, image, *, num_mixed, factor, adjustment, training):
    """The authors' forward by the authors' names: the class token's logits, and the cells after each block."""
    if "patch_embed.conv1.weight" in tensors:
        for n, (stride, padding) in enumerate([(2, 3), (1, 1)], start=1):
            image = F.conv2d(image, tensors[f"patch_embed.conv{n}.weight"], stride=stride, padding=padding)
            image = F.relu(batch_norm(image, tensors, f"patch_embed.bn{n}", training=training))
    weight = tensors["patch_embed.proj.weight"]
    cells = F.conv2d(image, weight, tensors["patch_embed.proj.bias"], stride=weight.shape[-1]).flatten(2).mT
    x = torch.cat([tensors["cls_token"].expand(len(cells), -1, -1), cells], dim=1) + tensors["pos_embed"]
    found = []
    for k in range(4):
        own = {n.removeprefix(f"blocks.{k}."): t for n, t in tensors.items() if n.startswith(f"blocks.{k}.")}
        mixed = k >= 4 - num_mixed
        y = layer_norm(x * adjustment, own, "norm1")
        x = x + attention(y, own, factor=factor if mixed else None, training=training) / adjustment
        y = linear(layer_norm(x * adjustment, own, "norm2"), own, "mlp.fc1")
        x = x + linear(F.gelu(y), own, "mlp.fc2") / adjustment
        found.append(x[:, 1:])
    return linear(layer_norm(x, tensors, "norm")[:, 0], tensors, "head"), found


def attention(x, own, *, factor, training):
    q, k, v = linear(x, own, "attn.qkv").unflatten(-1, (3, 3, -1)).unbind(2)  # (B, N, heads, channels)
    maps = [(q[:, :, h] @ k[:, :, h].mT / q.shape[-1] ** 0.5).softmax(-1) for h in range(3)]
    if factor is not None:
        matrix, bias = own["attn.reatten_matrix.weight"][:, :, 0, 0], own["attn.reatten_matrix.bias"]
        maps = [sum(matrix[h, g] * maps[g] for g in range(3)) + bias[h] for h in range(3)]
        maps = factor * batch_norm(torch.stack(maps, dim=1), own, "attn.var_norm", training=training)
        maps = maps.unbind(1)
    return linear(torch.cat([maps[h] @ v[:, :, h] for h in range(3)], dim=-1), own, "attn.proj")


def batch_norm(x, tensors, name, *, training):
    each = (slice(None), *[None] * (x.ndim - 2))
    mean, variance = tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"]
    if training:
        axes = [0, *range(2, x.ndim)]
        mean, variance = x.mean(axes), x.var(axes, correction=0)
    normed = (x - mean[each]) / (variance[each] + 1e-5).sqrt()
    return normed * tensors[f"{name}.weight"][each] + tensors[f"{name}.bias"][each]


def layer_norm(x, tensors, name):
    return F.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"], eps=1e-6)


def linear(x, tensors, name):
    return F.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


FORMS = {
    "deepvit_16b": ("zhoudaquan_deepvit", dict(num_mixed=4, factor=1.0, adjustment=1.0)),
    "deepvit_s": ("zhoudaquan_stem_deepvit", dict(num_mixed=2, factor=8**-0.5, adjustment=0.5)),
    "deepvit_l": ("zhoudaquan_stem_deepvit", dict(num_mixed=2, factor=1.0, adjustment=0.5)),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", FORMS)
def test_every_level_and_the_logits_are_those_of_the_written_out_network(kind, training):
    source, form = FORMS[kind]
    classifier = small(kind).train(training)
    image = torch.randn(2, 3, 48, 48, dtype=torch.double)
    tensors = {name: tensor.clone() for name, tensor in to_theirs(classifier.state_dict(), source).items()}
    with torch.no_grad():
        logits, cells = written_out(tensors, image, training=training, **form)
        torch.testing.assert_close(classifier(image), logits, rtol=1e-10, atol=1e-10)
        found = classifier.backbone.features(image, norm=False, blocks=range(4))
    for level, expected in zip(found.levels, cells, strict=True):
        torch.testing.assert_close(level.values[:, 1:], form["adjustment"] * expected, rtol=1e-10, atol=1e-10)


def test_training_norms_maps_by_their_own_statistics_and_keeps_them_for_evaluation():
    torch.manual_seed(0)
    attend = ReAttend(3).double()
    q, k = torch.randn(2, 2, 3, 5, 4, dtype=torch.double)
    maps = attend.train().weights(q, k).detach()
    assert torch.allclose(maps.mean((0, 2, 3)), torch.zeros(3, dtype=torch.double), atol=1e-12)
    assert attend.var_norm.num_batches_tracked == 1
    assert not torch.allclose(attend.eval().weights(q, k), maps, atol=0.1)
    attend.var_norm.momentum = None  # the running statistics are those of all batches
    attend.var_norm.reset_running_stats()
    attend.train().weights(q, k)
    torch.testing.assert_close(attend.eval().weights(q, k), maps, rtol=0, atol=0.1)


def test_strips_of_queries_give_what_all_at_once_do():
    torch.manual_seed(0)
    attend = randomize(ReAttend(4)).double()
    q, k, v = torch.randn(3, 2, 4, 150, 8, dtype=torch.double)
    torch.testing.assert_close(attend(q, k, v), attend.weights(q, k) @ v)


@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (40, 83)), (3, (17, 17, 40))])
def test_it_is_of_any_rank_and_its_maps_are_seen(spatial_dims, size):
    classifier = small("deepvit_s", spatial_dims=spatial_dims).float()
    with torch.no_grad(), record_attention(classifier) as layers:
        assert classifier(torch.randn(2, 3, *size)).shape == (2, 3)
    tokens = 1 + torch.tensor([-(-s // 16) for s in size]).prod().item()
    assert [layer.weights[0].shape for layer in layers] == [(2, 1, 3, tokens, tokens)] * 4


@pytest.mark.parametrize("kind", ["deepvit_16b", "deepvit_s"])
def test_files_with_the_names_of_the_authors_load(kind, tmp_path):
    source, _ = FORMS[kind]
    classifier = small(kind)
    torch.save(to_theirs(classifier.state_dict(), source), tmp_path / "deepvit.pth")
    again = small(kind, taps=(0, 3))
    report = load_weights(again, tmp_path / "deepvit.pth")
    assert (report.source, report.complete, report.ignored) == (source, True, ())
    assert equal(again.class_head, classifier.class_head)
    dense = densevit.create_backbone(kind, dim=24, num_heads=3, depth=4, image_size=48, num_mixed=3)
    with pytest.raises(ValueError, match="does not fit this model"):
        load_weights(dense, tmp_path / "deepvit.pth")
