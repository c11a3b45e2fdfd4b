"""Multiply-accumulates against numbers worked out by hand, and against published ones."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import densevit
from densevit.macs import count_macs, count_macs_of
from tools.peers.common import transformers_segformer

WIDTHS, STRIDES = (256, 512, 1024, 2048), (4, 8, 16, 32)


class Attention(nn.Module):
    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v)


def meta(*shape):
    return torch.empty(shape, device="meta")


@pytest.mark.parametrize(
    ("module", "inputs", "expected"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), [meta(1, 3, 10, 7)], 10 * 7 * 8 * 3 * 9),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), [meta(1, 8, 10, 7)], 10 * 7 * 8 * 9),
        (nn.Conv3d(2, 4, 3, stride=2, padding=1), [meta(1, 2, 8, 8, 8)], 4**3 * 4 * 2 * 27),
        (nn.ConvTranspose2d(4, 3, 2, stride=2), [meta(1, 4, 5, 6)], 5 * 6 * 4 * 3 * 4),
        (nn.Linear(16, 5), [meta(1, 11, 16)], 11 * 16 * 5),
        (Attention(), [meta(1, 2, 30, 8), meta(1, 2, 10, 8), meta(1, 2, 10, 8)], 2 * (2 * 30 * 10 * 8)),
        (Attention(), [meta(1, 1, 30, 8), meta(1, 1, 10, 8), meta(1, 1, 10, 4)], 30 * 10 * 8 + 30 * 10 * 4),
        (nn.Sequential(nn.LayerNorm(16), nn.GELU()), [meta(1, 11, 16)], 0),
    ],
    ids=["convolution", "depthwise", "3D", "transposed", "linear", "attention", "narrow values", "neither"],
)
def test_a_layer_has_the_multiply_accumulates_of_its_formula(module, inputs, expected):
    assert count_macs_of(module, inputs).total == expected


def test_the_parts_of_a_model_add_up_to_the_whole():
    model = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=19).eval()
    count = count_macs(model, (64, 96))
    assert count.total == sum(count.by_module[part] for part in ("backbone", "decoder", "head"))
    assert count.by_module["head"] == 16 * 24 * 256 * 19
    assert count.by_module["backbone"] == count_macs(model.backbone, (64, 96)).total


def test_counting_computes_nothing_and_leaves_the_weights_where_they_are():
    model = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=2, spatial_dims=3, in_channels=1).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count = count_macs(model, (512, 512, 512))  # more than any memory holds
    with torch.device("meta"):
        empty = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=2, spatial_dims=3, in_channels=1).eval()
    assert count == count_macs(empty, (512, 512, 512))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_work_grows_with_the_pixels_where_nothing_attends_to_all_of_them():
    with torch.device("meta"):
        decoder = densevit.create_decoder("fpn", in_channels=WIDTHS, in_strides=STRIDES).eval()
    small, large = (
        count_macs_of(decoder, [[meta(1, c, n // s, n // s) for c, s in zip(WIDTHS, STRIDES, strict=True)]]).total
        for n in (128, 256)
    )
    assert large == 4 * small


def test_the_mit_b2_encoder_has_the_number_counted_on_its_peers():
    with torch.device("meta"):
        backbone = densevit.create_backbone("mit_b2").eval()
    assert round(count_macs(backbone, (512, 512)).total / 1e9, 2) == 20.24


def test_the_folded_head_has_the_work_of_its_formula_a_nineteenth_of_the_unfolded_ones():
    with torch.device("meta"):
        model = densevit.create_segmentor("mit_b2", "all_mlp", num_classes=19).eval()
    channels, dim, pixels = model.backbone.out_channels, 768, 128 * 128
    projections = sum(pixels // 4**i * c * dim for i, c in enumerate(channels))
    folding = sum(dim * dim * c for c in channels)  # of the two weights into one
    counted = count_macs(model, (512, 512)).by_module["decoder"]
    assert counted == projections + folding
    assert 18 < (projections + pixels * 4 * dim * dim) / counted < 19


@pytest.mark.parity
def test_the_unfolded_reference_has_its_published_number():
    model = transformers_segformer("mit_b0", num_classes=19).eval()
    assert round(count_macs(model, (512, 512), in_channels=3).total / 1e9, 2) == 7.84


@pytest.mark.parametrize(("size", "published"), [((800, 1216), 55.1), ((473, 473), 12.8)])
def test_panoptic_fpn_on_resnet50_has_the_published_number(size, published):
    """Laterals and 3 x 3 convolutions; https://arxiv.org/abs/2006.03677 has them in its last table."""
    assert fpn_part("fpn", size) / 1e9 == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize("form", ["iccv", "arxiv"])
@pytest.mark.parametrize(("size", "published"), [((800, 1216), 8.5), ((473, 473), 2.0)])
def test_visual_tokens_do_about_the_published_work_in_its_place(size, published, form):
    assert fpn_part("vt_fpn", size, form=form) / 1e9 == pytest.approx(published, rel=0.04)


@pytest.mark.parametrize(
    ("name", "published"), [("vt_resnet18", 1579), ("vt_resnet34", 3299), ("vt_resnet50", 3412), ("vt_resnet101", 7129)]
)
def test_vt_resnet_does_about_the_published_work(name, published):
    with torch.device("meta"):
        classifier = densevit.create_classifier(name, num_classes=1000).eval()
    assert count_macs(classifier, (224, 224)).total / 1e6 == pytest.approx(published, rel=0.035)


def fpn_part(name, size, **options):
    """What a decoder does between the backbone and the semantic branch."""
    with torch.device("meta"):
        decoder = densevit.create_decoder(name, in_channels=WIDTHS, in_strides=STRIDES, **options).eval()
    features = [meta(1, c, *(-(-n // s) for n in size)) for c, s in zip(WIDTHS, STRIDES, strict=True)]
    count = count_macs_of(decoder, [features])
    return count.total - count.by_module["branch"]


def test_tokens_before_the_grid_are_counted_too():
    plain, with_class = (densevit.create_backbone("vit_tiny", dim=24, depth=4, num_tokens=n) for n in (0, 1))
    of_a_token = 4 * (4 * 24 * 24 + 2 * 4 * 24 * 24)  # of each block: queries, keys, values, output, and the Mlp
    of_pairs = 4 * 2 * 24 * (17**2 - 16**2)
    more = count_macs(with_class, (64, 64)).total - count_macs(plain, (64, 64)).total
    assert more == of_a_token + of_pairs
