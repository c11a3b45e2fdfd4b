"""Plain ViT against timm, transformers, mmsegmentation and MONAI: every level, tokens and tables in every form."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.blocks.position import resize_positions
from densevit.weights import to_ours, to_stages, to_theirs
from tools.peers import import_mmseg, import_peer
from tools.peers.common import copy_weights, largest_difference, picture, randomize

pytestmark = pytest.mark.parity

TAPS = (2, 5, 8, 11)


def assert_equal_maps(features, expected, *, tolerance=1e-5):
    """Values grow with depth where no norm bounds them: so errors are parts of a map's largest value."""
    assert len(features) == len(expected)
    errors = [largest_difference(a, b) / b.abs().max().item() for a, b in zip(features, expected, strict=True)]
    assert max(errors) <= tolerance


def their_maps(theirs, image, *, norm):
    """Maps of timm's ViT after the blocks of TAPS, all through its final norm or none."""
    return theirs.forward_intermediates(image, indices=list(TAPS), norm=norm, intermediates_only=True)


@pytest.fixture(scope="module")
def deit():
    timm = import_peer("timm")
    return randomize(timm.create_model("deit_tiny_patch16_224"))


@pytest.mark.parametrize("norm", ["all", "none", "last"])
def test_all_levels_equal_those_of_timm(deit, norm):
    ours = densevit.create_backbone("vit_tiny", num_tokens=1, norm=norm)
    state = deit.state_dict()
    if norm == "none":
        state = {name: t for name, t in state.items() if not name.startswith("norm.")}
    translated = to_stages(
        to_ours(state, "timm_vit", class_head=False).state, [f"backbone.{name}" for name in ours.state_dict()]
    )
    ours.load_state_dict({name.removeprefix("backbone."): tensor for name, tensor in translated.items()})
    image = picture(224, 224)
    with torch.inference_mode():
        plain, normed = (their_maps(deit, image, norm=value) for value in (False, True))
        expected = {"all": normed, "none": plain, "last": [*plain[:3], normed[3]]}[norm]
        assert_equal_maps(ours.eval()(image), expected)


@pytest.mark.parametrize("registers", [0, 4])
def test_class_and_register_tokens_and_the_maps_of_any_block_equal_those_of_timm(registers):
    timm = import_peer("timm")
    options = dict(
        embed_dim=192, num_heads=3, img_size=224, depth=6, reg_tokens=registers, no_embed_class=registers > 0
    )
    theirs = randomize(timm.models.vision_transformer.VisionTransformer(**options))
    ours = densevit.create_backbone("vit_tiny", depth=6, num_tokens=1, num_registers=registers, norm="all").eval()
    state = theirs.state_dict()
    if registers:  # there a class token has no row in the table
        state["pos_embed"] = torch.cat([torch.zeros(1, 1, 192), state["pos_embed"]], dim=1)
    translated = to_stages(
        to_ours(state, "timm_vit", class_head=False).state, [f"backbone.{name}" for name in ours.state_dict()]
    )
    own = {name.removeprefix("backbone."): t for name, t in translated.items()}
    if registers:
        own["stages.0.downsample.position.tokens.reg_token"] = state["reg_token"]
    ours.load_state_dict(own)
    image = picture(224, 224)
    with torch.inference_mode():
        expected = theirs.forward_intermediates(
            image, indices=[0, 3, 5], norm=True, intermediates_only=True, return_prefix_tokens=True
        )
        found = ours.features(image, blocks=[0, 3, 5])
        assert_equal_maps(found.maps, [maps for maps, _ in expected])
        prefixes = [level.values[:, : 1 + registers] for level in found.levels]
        assert_equal_maps(prefixes, [prefix for _, prefix in expected])
        assert_equal_maps([found.class_token], [theirs.forward_head(theirs.forward_features(image), pre_logits=True)])


@pytest.mark.parametrize(
    ("name", "peer", "num_tokens", "parameters"),
    [
        ("vit_tiny", "vit_tiny_patch16_224", 1, 5_717_416),
        ("vit_tiny", "deit_tiny_distilled_patch16_224", 2, 5_910_800),
        ("vit_small", "deit_small_patch16_224", 1, 22_050_664),
    ],
)
def test_the_sizes_of_timm_in_double_precision(name, peer, num_tokens, parameters):
    timm = import_peer("timm")
    theirs = randomize(timm.create_model(peer)).double()
    assert sum(p.numel() for p in theirs.parameters()) == parameters
    ours = copy_weights(
        theirs, densevit.create_backbone(name, num_tokens=num_tokens, norm="all").double(), source="timm"
    )
    image = picture(224, 224).double()
    with torch.inference_mode():
        assert_equal_maps(ours(image), their_maps(theirs, image, norm=True), tolerance=1e-13)


@pytest.mark.parametrize("size", [(160, 96), (75, 333), (224, 256), (16, 16)], ids=str)
def test_a_table_for_224_pixels_serves_other_sizes(deit, size):
    """timm resizes with antialiasing, DeiT and mmsegmentation without: their table is put in by hand."""
    timm = import_peer("timm")
    ours = copy_weights(deit, densevit.create_backbone("vit_tiny", num_tokens=1, norm="all"), source="timm")
    grid = [-(-s // 16) for s in size]
    cells = deit.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (14, 14))
    cells = F.interpolate(cells, size=grid, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    padded = [16 * g for g in grid]
    theirs = timm.create_model("deit_tiny_patch16_224", img_size=padded).eval()
    theirs.load_state_dict(deit.state_dict() | {"pos_embed": torch.cat([deit.pos_embed[:, :1], cells], dim=1)})
    image = picture(*size)
    far_ends = (0, padded[1] - size[1], 0, padded[0] - size[0])
    with torch.inference_mode():
        assert_equal_maps(ours(image), their_maps(theirs, F.pad(image, far_ends), norm=True))


@pytest.mark.parametrize("size", [(28, 28), (14, 31), (3, 5)], ids=str)
def test_a_resized_table_is_that_of_mmsegmentation(size):
    vit = import_mmseg().models.backbones.VisionTransformer
    table = torch.randn(1, 1 + 14 * 14, 8, dtype=torch.double)
    expected = vit.resize_pos_embed(table, size, (14, 14), "bicubic")
    assert largest_difference(resize_positions(table, grid=(14, 14), size=size, mode="bicubic"), expected) <= 1e-12


def test_a_resized_table_is_that_of_timm_but_for_its_antialiasing():
    resample = import_peer("timm.layers").resample_abs_pos_embed
    table = torch.randn(1, 1 + 14 * 14, 8)
    ours = resize_positions(table, grid=(14, 14), size=(28, 20), mode="bicubic")
    assert largest_difference(ours, resample(table, (28, 20), num_prefix_tokens=1, antialias=False)) <= 1e-6
    smaller = resize_positions(table, grid=(14, 14), size=(7, 7), mode="bicubic")
    assert largest_difference(smaller, resample(table, (7, 7), num_prefix_tokens=1)) > 0.1


@pytest.mark.parametrize("kind", ["ViT", "DeiT"])
def test_all_levels_equal_those_of_transformers(kind):
    """Their default eps, 1e-12, is none of a release: those of Google and of DeiT have 1e-6."""
    transformers = import_peer("transformers")
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=192, num_attention_heads=3, intermediate_size=768, layer_norm_eps=1e-6
    )
    num_tokens = {"ViT": 1, "DeiT": 2}[kind]
    theirs = randomize(getattr(transformers, f"{kind}Model")(config, add_pooling_layer=False))
    ours = copy_weights(theirs, densevit.create_backbone("vit_tiny", num_tokens=num_tokens), source="huggingface_vit")
    image = picture(224, 224)
    with torch.inference_mode():
        out = theirs(image, output_hidden_states=True)
        maps = [*(out.hidden_states[tap + 1] for tap in TAPS[:3]), out.last_hidden_state]
        expected = [m[:, num_tokens:].transpose(1, 2).unflatten(2, (14, 14)) for m in maps]
        assert_equal_maps(ours(image), expected)


@pytest.mark.parametrize("size", [(224, 224), (160, 96), (75, 93)], ids=str)
def test_all_levels_equal_those_of_mmsegmentation(size):
    mmseg = import_mmseg()
    theirs = mmseg.models.backbones.VisionTransformer(
        embed_dims=192,
        num_heads=3,
        out_indices=TAPS,
        final_norm=True,
        patch_bias=True,  # as in what mmsegmentation has released; its 1.x has no bias by default
        norm_cfg=dict(type="LN", eps=1e-6),
        interpolate_mode="bicubic",
    )
    randomize(theirs)
    ours = copy_weights(theirs, densevit.create_backbone("vit_tiny", num_tokens=1), source="mmseg_vit")
    with torch.inference_mode():
        assert_equal_maps(ours(picture(*size)), theirs(picture(*size)))


SMALL = dict(hidden_size=192, mlp_dim=768, num_heads=3)  # theirs, as small as our vit_tiny


def monai_vit(*, in_channels=1, **options):
    nets = import_peer("monai.networks.nets")
    return randomize(nets.ViT(in_channels=in_channels, patch_size=16, **options))


def unetr(**options):
    return densevit.create_backbone("unetr_vit_base", dim=192, num_heads=3, **options)


def monai_maps(theirs, image, *, taps):
    last, states = theirs(image)
    grid = [s // 16 for s in image.shape[2:]]
    return [m.transpose(1, 2).unflatten(2, grid) for m in (*(states[tap] for tap in taps[:-1]), last)]


@pytest.mark.parametrize(("patches", "size"), [("perceptron", (96, 96, 96)), ("conv", (48, 32, 80))])
def test_the_encoder_of_unetr_equals_that_of_monai(patches, size):
    theirs = monai_vit(img_size=size, proj_type=patches)
    ours = densevit.create_backbone("unetr_vit_base", spatial_dims=3, in_channels=1, image_size=size)
    copy_weights(theirs, ours, source="monai_vit")
    image = picture(*size, channels=1)
    with torch.inference_mode():
        assert_equal_maps(ours(image), monai_maps(theirs, image, taps=(3, 6, 9, 11)))


@pytest.mark.parametrize("taps", [(3, 6, 9, 11), (2, 5, 8, 11)], ids=str)
def test_in_double_precision_unetrs_encoder_is_equal_to_thirteen_digits(taps):
    theirs = monai_vit(img_size=32, proj_type="perceptron", spatial_dims=2, **SMALL).double()
    ours = unetr(in_channels=1, image_size=32, taps=taps).double()
    copy_weights(theirs, ours, source="monai_vit")
    image = picture(32, 32, channels=1).double()
    with torch.inference_mode():
        assert_equal_maps(ours(image), monai_maps(theirs, image, taps=taps), tolerance=1e-13)


@pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")
@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (64, 96)), (3, (32, 48, 64))])
def test_sines_and_cosines_equal_those_of_monai(spatial_dims, size):
    theirs = monai_vit(img_size=size, spatial_dims=spatial_dims, pos_embed_type="sincos", **SMALL)
    build = import_peer("monai.networks.blocks.pos_embed_utils").build_sincos_position_embedding
    table = build([s // 16 for s in size], 192, spatial_dims)
    theirs.patch_embedding.position_embeddings = None
    ours = densevit.create_backbone(
        "vit_tiny", spatial_dims=spatial_dims, in_channels=1, position="sincos", qkv_bias=False, eps=1e-5
    )
    copy_weights(theirs, ours, source="monai_vit")
    theirs.patch_embedding.position_embeddings = table
    image = picture(*size, channels=1)
    with torch.inference_mode():
        assert_equal_maps(ours(image), monai_maps(theirs, image, taps=TAPS))


def test_weights_of_ours_load_into_monai():
    ours = randomize(unetr(spatial_dims=3, in_channels=2, image_size=32))
    theirs = monai_vit(in_channels=2, img_size=32, proj_type="perceptron", **SMALL)
    result = theirs.load_state_dict(to_theirs(ours.state_dict(), "monai_vit"), strict=False)
    assert result.unexpected_keys == []
    assert all("norm_cross_attn" in name for name in result.missing_keys)
    image = picture(32, 32, 32, channels=2)
    with torch.inference_mode():
        assert_equal_maps(ours(image), monai_maps(theirs, image, taps=(3, 6, 9, 11)))
