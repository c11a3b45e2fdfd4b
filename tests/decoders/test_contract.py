"""What every decoder promises, and that a decoder of queries (masks and a class for each) keeps the same contract."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import densevit
from densevit.blocks import nd
from densevit.decoders import Decoder, FirstMap
from densevit.losses import create_loss
from densevit.registry import DECODERS
from densevit.segmentor import Segmentor
from tests.common import own_decoders

SIZE_OPTIONS = ("depth", "dim", "head_dim", "num_tokens", "token_dim")


@pytest.mark.parametrize("name", own_decoders())
def test_levels_have_the_channels_that_the_decoder_declares_and_the_first_is_its_output(name):
    model = densevit.create_segmentor("mit_b0", name, num_classes=3).eval()
    features = model.forward_levels(torch.randn(1, 3, 64, 96))
    levels = model.decoder.forward_levels(features)
    assert torch.equal(levels[0].values, model.decoder(features).values)
    declared = zip(model.decoder.level_channels, model.decoder.level_strides, strict=True)
    assert [tuple(level.values.shape[1:]) for level in levels] == [(c, 64 // s, 96 // s) for c, s in declared]
    for i, level in enumerate(levels):
        logits = level.classify(model.decoder.create_head(3, level=i)).logits((64, 96))
        assert logits.shape == (1, 3, 64, 96)


@pytest.mark.parametrize("name", own_decoders())
def test_a_decoder_that_takes_the_image_gets_it_and_no_other_does(name):
    model = densevit.create_segmentor("mit_b0", name, num_classes=3, in_channels=2)
    assert model.decoder.image_channels == (2 if name == "unetr" else None)
    assert len(model.forward_levels(torch.randn(1, 2, 32, 32))) == (5 if name == "unetr" else 4)


def test_after_a_whole_network_nothing_is_left_to_classify():
    decoder = FirstMap(spatial_dims=2, level_channels=(3, 3), level_strides=(1, 2))
    maps = [torch.randn(1, 3, 8, 8), torch.randn(1, 3, 4, 4)]
    assert torch.equal(decoder(maps).classify(decoder.create_head(3)).logits(), maps[0])


def test_a_module_that_declares_nothing_is_refused_as_decoder():
    backbone = densevit.create_backbone("mit_b0")
    with pytest.raises(ValueError, match=r"expected a decoder derived from densevit\.decoders\.Decoder, got Identity"):
        Segmentor(backbone, nn.Identity(), num_classes=2)


class Queries(NamedTuple):
    """Masks (B, Q, *S), and what describes each: features (B, Q, C), then scores (B, Q, num_classes + 1)."""

    described: torch.Tensor
    masks: torch.Tensor

    def classify(self, head):
        return self._replace(described=head(self.described))

    def float(self):
        return Queries(self.described.float(), self.masks.float())

    def logits(self, size=None):
        masks = self.masks if size is None else nd.resize(self.masks, size)
        classes = self.described.softmax(-1)[..., :-1]  # the last one is "no object"
        return torch.einsum("bqk,bq...->bk...", classes, masks.sigmoid()).clamp_min(1e-6).log()


class QueryDecoder(Decoder):
    """Learned queries, whose masks are their products with the finest map."""

    def __init__(self, *, spatial_dims, in_channels, in_strides, num_queries=7):
        super().__init__(spatial_dims=spatial_dims, level_channels=in_channels[:1], level_strides=in_strides[:1])
        self.queries = nn.Parameter(torch.randn(num_queries, self.out_channels))

    def forward_levels(self, features):
        masks = torch.einsum("qc,bc...->bq...", self.queries, features[0])
        return [Queries(self.queries.expand(len(masks), -1, -1), masks)]

    def create_head(self, num_classes, *, level=0):
        return nn.Linear(self.out_channels, num_classes + 1)


def presence_loss(output, label):
    """A loss that reads what only queries have: is every class of the label found by some query?"""
    found = output.described.softmax(-1)[..., :-1].amax(1)  # (B, K)
    present = F.one_hot(label, found.shape[1]).flatten(1, -2).amax(1)
    return F.binary_cross_entropy(found, present.float())


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_decoder_of_queries_predicts_trains_compiles_and_exports(spatial_dims):
    torch.manual_seed(0)
    size = (32, 40, 36)[:spatial_dims]
    backbone = densevit.create_backbone("mit_b0", spatial_dims=spatial_dims, in_channels=1)
    decoder = QueryDecoder(
        spatial_dims=spatial_dims, in_channels=backbone.out_channels, in_strides=backbone.out_strides
    )
    model = Segmentor(backbone, decoder, num_classes=3)
    image, label = torch.randn(2, 1, *size), torch.randint(0, 3, (2, *size))
    assert model(image).shape == (2, 3, *size)
    output = model.forward_output(image)
    dense = create_loss([dict(type="cross_entropy"), dict(type="dice")])(output, label)
    (sum(dense.values()) + presence_loss(output, label)).backward()
    assert decoder.queries.grad.abs().sum() > 0
    assert model.head.weight.grad.abs().sum() > 0
    model.eval()
    with torch.no_grad():
        expected = model(image)
        torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="eager")(image), expected)
        torch.testing.assert_close(torch.export.export(model, (image,)).module()(image), expected)


SIZES = [(name, option) for name in own_decoders() for option in DECODERS.parameters(name) if option in SIZE_OPTIONS]


@pytest.mark.parametrize("size", [0, -1, 1.5])
@pytest.mark.parametrize(("name", "option"), SIZES)
def test_a_decoder_names_the_size_of_which_nothing_can_be_built(name, option, size):
    with pytest.raises(ValueError, match=rf"{option} must be a whole number of at least 1, got {size}"):
        densevit.create_segmentor("mit_b0", name, num_classes=3, decoder_options={option: size})


@pytest.mark.parametrize("sizes", [(0,), (1, -2)])
def test_uper_names_a_pooled_size_of_which_nothing_can_be_built(sizes):
    with pytest.raises(ValueError, match=rf"pool_sizes\[\d\] must be a whole number of at least 1, got {sizes[-1]}"):
        densevit.create_segmentor("mit_b0", "uper", num_classes=3, decoder_options=dict(pool_sizes=sizes))
