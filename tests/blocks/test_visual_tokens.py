"""Visual tokens against their equations, written out pixel by pixel and token by token as the two texts have them."""

import pytest
import torch
from torch import nn

from densevit.blocks.visual_tokens import (
    FORMS,
    FilterTokenizer,
    GroupedLinear,
    PositionCode,
    Projector,
    RecurrentTokenizer,
    TokenEmbed,
    TokenTransformer,
    VisualTokens,
    VisualTransformer,
)

DIM, TOKEN_DIM, HEADS, NUM_TOKENS = 8, 16, 4, 6
SIZES = [(2, 3), (2, 1, 3)]


def random(module, seed=0):
    """The module in double precision with random weights far from their initial values."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.double().parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2
    return module


def values(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def earlier_tokens(size, batch=2):
    return VisualTokens(values(batch, NUM_TOKENS, TOKEN_DIM, seed=2), values(batch, NUM_TOKENS, *size, seed=3))


def make_tokenizer(kind, form, *, spatial_dims=2, token_dim=TOKEN_DIM, position=False):
    options = dict(token_dim=token_dim, form=form, position=position, num_heads=HEADS)
    if kind is FilterTokenizer:
        options["num_tokens"] = NUM_TOKENS
    return random(kind(spatial_dims, DIM, **options))


def grouped(layer, vector):
    """A grouped pointwise convolution of one pixel or token."""
    parts = vector.chunk(len(layer.weight))
    return torch.cat([part @ weight for part, weight in zip(parts, layer.weight, strict=True)])


def heads_of(vector, num_heads):
    return vector.chunk(num_heads)


def softmax(logits):
    exponentials = [torch.exp(logit) for logit in logits]
    return [e / sum(exponentials) for e in exponentials]


# The equations. `pixels` is a list of vectors (C), `tokens` one of vectors (T).


def filter_tokenizer(module, pixels, form):
    tokens = []
    for weight in module.filters.weight:
        logits = [pixel @ weight / (DIM**0.5 if form == "arxiv" else 1) for pixel in pixels]
        coefficients = softmax(logits)  # over pixels
        # the preprint has a grouped convolution of every pixel
        contents = [grouped(module.embed.value, x) for x in pixels] if form == "arxiv" else pixels
        mean = sum(a * x for a, x in zip(coefficients, contents, strict=True))
        tokens.append(module.embed.project.weight @ mean)
    return torch.stack(tokens)


def recurrent_tokenizer_iccv(module, pixels, tokens):
    new = []
    for token in tokens:
        filters = module.query.weight @ token  # W_R = T_in W
        coefficients = softmax([pixel @ filters for pixel in pixels])
        mean = sum(a * x for a, x in zip(coefficients, pixels, strict=True))
        new.append(module.embed.project.weight @ mean)
    return torch.stack(new)


def recurrent_tokenizer_arxiv(module, pixels, tokens):
    asking, kept = tokens[: len(tokens) // 2], tokens[len(tokens) // 2 :]
    keys = [heads_of(grouped(module.key, pixel), HEADS) for pixel in pixels]
    contents = [heads_of(grouped(module.embed.value, pixel), HEADS) for pixel in pixels]
    new = []
    for token in asking:
        queries, parts = heads_of(module.query.weight @ token, HEADS), []
        for h in range(HEADS):
            coefficients = softmax([queries[h] @ key[h] / (DIM / HEADS) ** 0.5 for key in keys])
            parts.append(sum(a * content[h] for a, content in zip(coefficients, contents, strict=True)))
        new.append(module.embed.project.weight @ torch.cat(parts))
    return torch.stack([*kept, *new])


def transformer(module, tokens, form):
    num_heads, attended = (HEADS, TOKEN_DIM // 2) if form == "arxiv" else (1, TOKEN_DIM)
    scale = (attended / num_heads) ** 0.5 if form == "arxiv" else 1
    after = []
    for token in tokens:
        query, parts = heads_of(grouped(module.query, token), num_heads), []
        for h in range(num_heads):
            keys = [heads_of(grouped(module.key, other), num_heads)[h] for other in tokens]
            contents = [grouped(module.value, t) if form == "arxiv" else t for t in tokens]
            coefficients = softmax([query[h] @ key / scale for key in keys])  # over tokens
            parts.append(sum(a * heads_of(c, num_heads)[h] for a, c in zip(coefficients, contents, strict=True)))
        joined = token + torch.cat(parts)
        layer = module.fc1.weight @ joined
        after.append(joined + (layer if form == "arxiv" else module.fc2.weight @ layer.relu()))
    return torch.stack(after)


def projector(module, pixels, tokens, form):
    num_heads = HEADS if form == "arxiv" else 1
    scale = (DIM / num_heads) ** 0.5 if form == "arxiv" else 1
    after = []
    for pixel in pixels:
        query, parts = heads_of(grouped(module.query, pixel), num_heads), []
        for h in range(num_heads):
            keys = [heads_of(module.key.weight @ token, num_heads)[h] for token in tokens]
            contents = [heads_of(module.value.weight @ token, num_heads)[h] for token in tokens]
            coefficients = softmax([query[h] @ key / scale for key in keys])  # over tokens
            parts.append(sum(a * c for a, c in zip(coefficients, contents, strict=True)))
        after.append(pixel + torch.cat(parts))
    return torch.stack(after)


def every_sample(function, *inputs):
    return torch.stack([function(*(list(part) for part in sample)) for sample in zip(*inputs, strict=True)])


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_the_filter_tokenizer_is_a_softmax_over_pixels_for_each_filter(form, size):
    module, x = make_tokenizer(FilterTokenizer, form, spatial_dims=len(size)), values(2, *size, DIM)
    expected = every_sample(lambda pixels: filter_tokenizer(module, pixels, form), x.flatten(1, -2))
    torch.testing.assert_close(module(x).values, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_the_recurrent_tokenizer_makes_its_filters_from_earlier_tokens(form, size):
    module, x = make_tokenizer(RecurrentTokenizer, form, spatial_dims=len(size)), values(2, *size, DIM)
    tokens = earlier_tokens(size)
    equation = recurrent_tokenizer_iccv if form == "iccv" else recurrent_tokenizer_arxiv
    expected = every_sample(lambda pixels, t: equation(module, pixels, t), x.flatten(1, -2), tokens.values)
    torch.testing.assert_close(module(x, tokens).values, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_the_transformer_is_a_softmax_over_tokens_and_a_feed_forward_net(form):
    module, tokens = random(TokenTransformer(token_dim=TOKEN_DIM, form=form, num_heads=HEADS)), values(2, 5, TOKEN_DIM)
    expected = every_sample(lambda t: transformer(module, t, form), tokens)
    torch.testing.assert_close(module(tokens), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_the_projector_gives_each_pixel_a_softmax_over_tokens(form, size):
    module = random(Projector(DIM, token_dim=TOKEN_DIM, form=form, num_heads=HEADS))
    x, tokens = values(2, *size, DIM), values(2, 5, TOKEN_DIM, seed=4)
    expected = every_sample(lambda pixels, t: projector(module, pixels, t, form), x.flatten(1, -2), tokens)
    torch.testing.assert_close(module(x, tokens).flatten(1, -2), expected, rtol=1e-10, atol=1e-12)


def test_tokens_as_wide_as_the_map_are_the_published_equation_and_nothing_more():
    module, x = make_tokenizer(FilterTokenizer, "iccv", token_dim=DIM), values(2, 2, 3, DIM)
    pixels = x.flatten(1, -2)
    expected = (pixels @ module.filters.weight.T).softmax(dim=1).transpose(1, 2) @ pixels
    torch.testing.assert_close(module(x).values, expected)
    assert [name for name, _ in module.named_parameters()] == ["filters.weight"]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("position", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [FilterTokenizer, RecurrentTokenizer])
def test_every_map_sums_to_one_over_pixels(kind, form, position, size):
    module = make_tokenizer(kind, form, spatial_dims=len(size), position=position)
    earlier = earlier_tokens(size)
    earlier = VisualTokens(earlier.values, earlier.maps.flatten(2).softmax(-1).view_as(earlier.maps))
    x = values(2, *size, DIM)
    tokens = module(x) if kind is FilterTokenizer else module(x, earlier)
    assert tokens.values.shape == (2, NUM_TOKENS, TOKEN_DIM)
    assert tokens.maps.shape == (2, NUM_TOKENS, *size)
    torch.testing.assert_close(tokens.maps.flatten(2).sum(-1), torch.ones(2, NUM_TOKENS, dtype=torch.float64))


def test_the_filter_tokenizers_map_is_the_softmax_of_its_filter():
    module, x = make_tokenizer(FilterTokenizer, "arxiv"), values(1, 4, 5, DIM)
    logits = torch.einsum("bhwc,lc->blhw", x, module.filters.weight) / DIM**0.5
    torch.testing.assert_close(module(x).maps, logits.flatten(2).softmax(-1).view_as(logits))


@pytest.mark.parametrize("count", [1, 5, 6])
def test_in_the_preprints_form_half_of_the_tokens_stay_with_their_maps(count):
    module, size = make_tokenizer(RecurrentTokenizer, "arxiv"), (2, 3)
    earlier = VisualTokens(*(part[:, :count] for part in earlier_tokens(size)))
    tokens = module(values(2, *size, DIM), earlier)
    kept = count // 2
    assert tokens.values.shape[1] == count
    for part, before in zip(tokens, earlier, strict=True):
        assert torch.equal(part[:, :kept], before[:, count - kept :])


# Order: of pixels, of tokens.


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [FilterTokenizer, RecurrentTokenizer])
def test_tokens_do_not_depend_on_the_order_of_pixels_and_maps_follow_it(kind, form):
    module, x = make_tokenizer(kind, form), values(2, 1, 7, DIM)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    earlier = earlier_tokens((1, 7))
    shuffled = VisualTokens(earlier.values, earlier.maps[..., order])
    first, second = (module(x), module(x[:, :, order])) if kind is FilterTokenizer else (
        module(x, earlier), module(x[:, :, order], shuffled)
    )  # fmt: skip
    torch.testing.assert_close(second.values, first.values)
    torch.testing.assert_close(second.maps, first.maps[..., order])


@pytest.mark.parametrize("form", FORMS)
def test_the_transformer_and_the_published_recurrent_tokenizer_follow_the_order_of_tokens(form):
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    tokens = earlier_tokens((2, 3))
    module = random(TokenTransformer(token_dim=TOKEN_DIM, form=form, num_heads=HEADS))
    torch.testing.assert_close(module(tokens.values[:, order]), module(tokens.values)[:, order])
    module, x = make_tokenizer(RecurrentTokenizer, "iccv"), values(2, 2, 3, DIM)
    for part, shuffled in zip(module(x, tokens), module(x, VisualTokens(*(p[:, order] for p in tokens))), strict=True):
        torch.testing.assert_close(shuffled, part[:, order])


@pytest.mark.parametrize("form", FORMS)
def test_the_projector_ignores_the_order_of_tokens_and_follows_that_of_pixels(form):
    module = random(Projector(DIM, token_dim=TOKEN_DIM, form=form, num_heads=HEADS))
    x, tokens = values(2, 1, 5, DIM), values(2, 4, TOKEN_DIM, seed=5)
    pixel_order, token_order = torch.tensor([2, 4, 0, 1, 3]), torch.tensor([3, 1, 0, 2])
    expected = module(x, tokens)[:, :, pixel_order]
    torch.testing.assert_close(module(x[:, :, pixel_order], tokens[:, token_order]), expected)


# Limits.


def test_tokens_that_hold_nothing_leave_the_map_as_it_is():
    for form in FORMS:
        module, x = random(Projector(DIM, token_dim=TOKEN_DIM, form=form, num_heads=HEADS)), values(2, 2, 3, DIM)
        torch.testing.assert_close(module(x, torch.zeros(2, 4, TOKEN_DIM, dtype=torch.float64)), x)


def test_a_filter_that_sees_no_difference_takes_the_mean_of_the_pixels():
    module, x = make_tokenizer(FilterTokenizer, "iccv", token_dim=DIM), values(2, 3, 4, DIM)
    nn.init.zeros_(module.filters.weight)
    mean = x.mean(dim=(1, 2))[:, None].expand(-1, NUM_TOKENS, -1)
    torch.testing.assert_close(module(x).values, mean)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [FilterTokenizer, RecurrentTokenizer])
def test_a_volume_of_one_slice_gives_the_tokens_of_the_slice(kind, form):
    flat, deep = (make_tokenizer(kind, form, spatial_dims=n) for n in (2, 3))
    x, tokens = values(2, 3, 4, DIM), earlier_tokens((3, 4))
    inputs = [(x,), (x[:, None],)] if kind is FilterTokenizer else [
        (x, tokens), (x[:, None], VisualTokens(tokens.values, tokens.maps[:, :, None]))
    ]  # fmt: skip
    first, second = flat(*inputs[0]), deep(*inputs[1])
    torch.testing.assert_close(second.values, first.values)
    torch.testing.assert_close(second.maps[:, :, 0], first.maps)


def test_a_position_code_tells_where_and_is_the_same_at_every_resolution():
    code = random(PositionCode(2))
    maps = torch.zeros(1, 2, 16, 16, dtype=torch.float64)
    maps[0, 0, :8, :8], maps[0, 1, 8:, 8:] = 1 / 64, 1 / 64
    near, far = code(maps)[0]
    assert (near - far).abs().max() > 0.1
    finer = maps.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3) / 4
    torch.testing.assert_close(code(finer), code(maps))


def test_a_grouped_linear_map_is_a_grouped_pointwise_convolution_and_its_transpose():
    layer, x = random(GroupedLinear(8, 12, groups=4)), values(3, 5, 8)
    convolution = nn.Conv1d(8, 12, 1, groups=4, bias=False).double()
    convolution.weight.data = layer.weight.data.transpose(1, 2).reshape(12, 2, 1)
    torch.testing.assert_close(layer(x), convolution(x.transpose(1, 2)).transpose(1, 2))
    y = values(3, 5, 12, seed=6)
    torch.testing.assert_close((layer(x) * y).sum(), (x * layer.transposed(y)).sum())


@pytest.mark.parametrize("position", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_two_rounds_give_every_parameter_a_gradient(form, position):
    common = dict(token_dim=TOKEN_DIM, form=form, num_heads=HEADS)
    rounds = []
    for kind in (FilterTokenizer, RecurrentTokenizer):
        tokenizers = [make_tokenizer(kind, form, position=position).float() for _ in range(2)]
        projectors = [Projector(DIM, **common) for _ in range(2)]
        rounds.append(VisualTransformer(tokenizers, TokenTransformer(**common), projectors))
    grids, tokens = [torch.randn(2, 4, 5, DIM), torch.randn(2, 2, 3, DIM)], None
    for module in rounds:
        grids, tokens = module(grids, tokens)
    sum(grid.square().sum() for grid in grids).backward()
    silent = [name for name, p in nn.ModuleList(rounds).named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_one_level_hears_of_another_through_the_tokens():
    common = dict(token_dim=TOKEN_DIM, form="iccv", num_heads=HEADS)
    module = VisualTransformer(
        [make_tokenizer(FilterTokenizer, "iccv") for _ in range(2)],
        random(TokenTransformer(**common)),
        [random(Projector(DIM, **common)) for _ in range(2)],
    )
    fine, coarse = values(1, 4, 4, DIM), values(1, 2, 2, DIM, seed=7)
    before, _ = module([fine, coarse], None)
    after, _ = module([fine, -coarse], None)
    assert (before[0] - after[0]).abs().max() > 1e-3


def test_heads_that_do_not_divide_a_width_are_refused():
    with pytest.raises(ValueError, match="must divide widths 10 and 10"):
        TokenEmbed(2, 10, token_dim=8, form="arxiv", position=False, num_heads=4)
    with pytest.raises(ValueError, match="must divide half the tokens' width, 12"):
        TokenTransformer(token_dim=24, form="arxiv", num_heads=8)
