"""VT-FPN: any pyramid, the tokens' maps, and what is left of it when tokens hold nothing."""

from math import ceil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import densevit
from densevit.blocks import nd
from densevit.blocks.pyramid import top_down
from densevit.blocks.visual_tokens import FORMS, FilterTokenizer, RecurrentTokenizer

CHANNELS, STRIDES = (8, 16, 24), (4, 8, 16)
PYRAMIDS = {
    "doubling": ((8, 16, 24), (4, 8, 16)),
    "equal strides": ((16, 16, 16), (16, 16, 16)),
    "one level": ((8,), (4,)),
    "per axis": ((8, 16, 24), ((1, 4, 4), (2, 8, 8), (2, 16, 16))),
    "a gap": ((8, 24), (2, 16)),
}


def make(*, spatial_dims=2, channels=CHANNELS, strides=STRIDES, seed=0, **options):
    torch.manual_seed(seed)
    options = dict(dim=16, token_dim=8, num_tokens=4) | options
    strides = [s if isinstance(s, int) else s[-spatial_dims:] for s in strides]
    return densevit.create_decoder(
        "vt_fpn", in_channels=channels, in_strides=strides, spatial_dims=spatial_dims, **options
    ).eval()


def pyramid(size, *, channels=CHANNELS, strides=STRIDES, batch=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    per_axis = [nd.ntuple(s if isinstance(s, int) else s[-len(size) :], len(size)) for s in strides]
    return [
        torch.randn(batch, c, *(ceil(n / s) for n, s in zip(size, stride, strict=True)), generator=generator)
        for c, stride in zip(channels, per_axis, strict=True)
    ]


@pytest.mark.parametrize("size", [(37, 50), (1, 1), (33, 9, 20), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("name", PYRAMIDS)
@pytest.mark.parametrize("form", FORMS)
def test_any_pyramid_of_any_size_becomes_a_map_of_its_finest_level(form, name, size):
    channels, strides = PYRAMIDS[name]
    decoder = make(spatial_dims=len(size), channels=channels, strides=strides, form=form, depth=2, position=True)
    features = pyramid(size, channels=channels, strides=strides)
    levels = [level.values for level in decoder.forward_levels(features)]
    torch.testing.assert_close(decoder(features).values, levels[0])
    assert decoder.level_strides == tuple(s if isinstance(s, int) else s[-len(size) :] for s in strides)
    assert [tuple(level.shape) for level in levels] == [
        (2, c, *feature.shape[2:]) for c, feature in zip(decoder.level_channels, features, strict=True)
    ]
    assert levels[0].shape[1] == decoder.out_channels == 128


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_token_maps_are_one_softmax_over_the_pixels_for_each_token_of_each_level(form, depth, spatial_dims):
    size = (33, 17, 26)[-spatial_dims:]
    decoder, features = make(spatial_dims=spatial_dims, form=form, depth=depth), pyramid(size)
    maps = decoder.token_maps(features)
    assert [tuple(m.shape) for m in maps] == [(2, 4, *feature.shape[2:]) for feature in features]
    assert all((m >= 0).all() for m in maps)
    for m in maps:
        torch.testing.assert_close(m.flatten(2).sum(-1), torch.ones(2, 4))


def test_the_first_rounds_maps_are_those_of_the_filters_on_the_summed_laterals():
    decoder, features = make(), pyramid((37, 50))
    for level, tokenizer, m in zip(
        top_down(decoder.lateral_convs, features),
        decoder.rounds[0].tokenizers,
        decoder.token_maps(features),
        strict=True,
    ):
        logits = torch.einsum("bchw,lc->blhw", level, tokenizer.filters.weight)
        torch.testing.assert_close(m, logits.flatten(2).softmax(-1).view_as(logits))


def test_laterals_are_added_from_coarse_to_fine():
    laterals = [nn.Identity(), nn.Identity(), nn.Identity()]
    fine, middle, coarse = (torch.randn(1, 2, n, n) for n in (6, 3, 2))
    summed = top_down(laterals, [fine, middle, coarse])
    assert torch.equal(summed[2], coarse)
    torch.testing.assert_close(summed[1], middle + F.interpolate(coarse, size=(3, 3)))
    torch.testing.assert_close(summed[0], fine + F.interpolate(summed[1], size=(6, 6)))


def test_without_what_the_tokens_hold_the_pyramid_is_that_of_the_laterals():
    decoder, features = make(depth=2), pyramid((37, 50))
    for module in decoder.rounds:
        for projector in module.projectors:
            nn.init.zeros_(projector.value.weight)
    levels, _ = decoder.forward_tokens(features)
    for level, lateral in zip(levels, top_down(decoder.lateral_convs, features), strict=True):
        torch.testing.assert_close(level, lateral)


def test_only_the_first_round_starts_without_tokens():
    kinds = [{type(t) for t in module.tokenizers} for module in make(depth=3).rounds]
    assert kinds == [{FilterTokenizer}, {RecurrentTokenizer}, {RecurrentTokenizer}]


def test_one_transformer_joins_the_tokens_of_all_levels():
    decoder, features = make(), pyramid((64, 64))
    seen = []
    decoder.rounds[0].transformer.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].shape))
    decoder(features)
    assert seen == [(2, 3 * 4, 8)]


@pytest.mark.parametrize(("channels", "width"), [((256, 512, 1024, 2048), 1024), ((64, 128, 320, 512), 256)])
def test_tokens_have_half_the_coarsest_levels_width_which_is_the_published_1024_on_resnet50(channels, width):
    with torch.device("meta"):
        decoder = densevit.create_decoder("vt_fpn", in_channels=channels, in_strides=(4, 8, 16, 32))
        features = [torch.empty(1, c, 64 // s, 64 // s) for c, s in zip(channels, (2, 4, 8, 16), strict=True)]
        _, tokens = decoder.forward_tokens(features)
    assert [tuple(level.values.shape) for level in tokens] == [(1, 8, width)] * 4


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_reach_every_parameter_and_every_level(form, spatial_dims):
    decoder = make(spatial_dims=spatial_dims, form=form, depth=2, position=True).train()
    features = [f.requires_grad_() for f in pyramid((33, 32, 40)[-spatial_dims:])]
    decoder(features).values.square().mean().backward()
    silent = [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert all(f.grad.any() for f in features)


@pytest.mark.parametrize("form", FORMS)
def test_the_result_of_a_sample_does_not_depend_on_its_batch(form):
    decoder, features = make(form=form, depth=2, position=True), pyramid((37, 50), batch=3)
    torch.testing.assert_close(decoder(features).values[1:2], decoder([f[1:2] for f in features]).values)


@pytest.mark.parametrize("form", FORMS)
def test_a_volume_of_one_slice_gives_the_map_of_the_slice(form):
    flat = make(form=form, depth=2)
    deep = make(form=form, depth=2, spatial_dims=3, strides=[(1, s, s) for s in STRIDES])
    state = {}
    for name, tensor in flat.state_dict().items():
        if tensor.ndim == 4:  # a kernel of the slice alone
            before = 0 if tensor.shape[-1] == 1 else 1
            tensor = F.pad(tensor.unsqueeze(2), (0, 0, 0, 0, before, before))
        state[name] = tensor
    deep.load_state_dict(state)
    features = pyramid((37, 50))
    found = deep([f.unsqueeze(2) for f in features]).values.squeeze(2)
    torch.testing.assert_close(found, flat(features).values)


@pytest.mark.parametrize("form", FORMS)
def test_it_compiles_in_one_graph_and_exports(form):
    decoder, features = make(form=form, depth=2, position=True), pyramid((37, 50), batch=1)
    expected = decoder(features)
    torch._dynamo.reset()
    compiled = torch.compile(decoder, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(features), expected)
    program = torch.export.export(decoder, (features,))
    torch.testing.assert_close(program.module()(features), expected)


def test_a_form_of_neither_text_is_refused():
    with pytest.raises(ValueError, match="form must be 'iccv' or 'arxiv', got 'cvpr'"):
        make(form="cvpr")
