"""Google's .npz files of flax: read without running code, the layouts of kernels turned as timm's own reader does."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.weights import known_sources, load_weights, read_checkpoint, to_theirs
from tests.parity.test_bit import DEPTHS, of_timm
from tests.parity.test_hybrid_vit import hybrid_of_timm
from tools.peers import import_peer
from tools.peers.common import largest_difference, picture, randomize

DIM, HEADS, DEPTH, PATCH, IMAGE, CLASSES = 24, 3, 4, 8, 32, 5
VIT = dict(dim=DIM, depth=DEPTH, num_heads=HEADS, patch_size=PATCH, image_size=IMAGE)
MIXER = dict(dim=DIM, depth=DEPTH, patch_size=PATCH, image_size=IMAGE)
CELLS = (IMAGE // PATCH) ** 2


def of_layer(name, *shape):
    return {f"{name}/kernel": shape, f"{name}/bias": shape[-1:]}


def of_norm(name):
    return {f"{name}/scale": (DIM,), f"{name}/bias": (DIM,)}


def of_mlp(name, dim, hidden):
    return of_layer(f"{name}/Dense_0", dim, hidden) | of_layer(f"{name}/Dense_1", hidden, dim)


def of_attention(name):
    heads = (HEADS, DIM // HEADS)
    parts = [f"{name}/{part}" for part in ("query", "key", "value")]
    shapes = {f"{part}/kernel": (DIM, *heads) for part in parts} | {f"{part}/bias": heads for part in parts}
    return shapes | of_layer(f"{name}/out", *heads, DIM)


def vit_shapes():
    """Of a file of google-research/vision_transformer, by its names."""
    shapes = {"cls": (1, 1, DIM), "Transformer/posembed_input/pos_embedding": (1, CELLS + 1, DIM)}
    shapes |= of_layer("embedding", PATCH, PATCH, 3, DIM) | of_layer("head", DIM, CLASSES)
    shapes |= of_norm("Transformer/encoder_norm")
    for k in range(DEPTH):
        block = f"Transformer/encoderblock_{k}"
        shapes |= of_norm(f"{block}/LayerNorm_0") | of_norm(f"{block}/LayerNorm_2")
        shapes |= of_mlp(f"{block}/MlpBlock_3", DIM, 4 * DIM)
        shapes |= of_attention(f"{block}/MultiHeadDotProductAttention_1")
    return shapes


def big_vision_shapes(pool, *, stacked=False, table=True):
    """Of a ViT of google-research/big_vision; `stacked` are the files of models that loop over their blocks."""
    of_block = of_norm("LayerNorm_0") | of_norm("LayerNorm_1") | of_mlp("MlpBlock_0", DIM, 4 * DIM)
    of_block |= of_attention("MultiHeadDotProductAttention_0")
    shapes = of_layer("embedding", PATCH, PATCH, 3, DIM) | of_layer("head", DIM, CLASSES)
    shapes |= of_norm("Transformer/encoder_norm") | ({"pos_embedding": (1, CELLS, DIM)} if table else {})
    shapes |= {"cls": (1, 1, DIM)} if pool == "token" else {}
    if pool == "map":
        of_head = {"probe": (1, 1, DIM)} | of_norm("LayerNorm_0") | of_mlp("MlpBlock_0", DIM, 4 * DIM)
        of_head |= of_attention("MultiHeadDotProductAttention_0")
        shapes |= {f"MAPHead_0/{name}": shape for name, shape in of_head.items()}
    if stacked:
        return shapes | {f"Transformer/encoderblock/{name}": (DEPTH, *shape) for name, shape in of_block.items()}
    blocks = range(DEPTH)
    return shapes | {f"Transformer/encoderblock_{k}/{name}": of_block[name] for k in blocks for name in of_block}


def mixer_shapes():
    shapes = of_layer("stem", PATCH, PATCH, 3, DIM) | of_layer("head", DIM, CLASSES) | of_norm("pre_head_layer_norm")
    for k in range(DEPTH):
        block = f"MixerBlock_{k}"
        shapes |= of_norm(f"{block}/LayerNorm_0") | of_mlp(f"{block}/token_mixing", CELLS, DIM // 2)
        shapes |= of_norm(f"{block}/LayerNorm_1") | of_mlp(f"{block}/channel_mixing", DIM, 4 * DIM)
    return shapes


def written(path, shapes, *, prefix=""):
    random = np.random.default_rng(0)
    np.savez(path, **{prefix + name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()})
    return path


@pytest.mark.parity
@pytest.mark.parametrize("prefix", ["", "opt/target/"])
def test_a_vit_has_the_logits_of_timms_own_reader(tmp_path, prefix):
    import_peer("timm")
    from timm.models.vision_transformer import VisionTransformer

    path = written(tmp_path / "ViT-B_16.npz", vit_shapes(), prefix=prefix)
    theirs = VisionTransformer(
        img_size=IMAGE, patch_size=PATCH, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, num_classes=CLASSES
    ).eval()
    theirs.load_pretrained(path)
    ours = densevit.create_classifier("vit_tiny", num_classes=CLASSES, **VIT).eval()
    report = load_weights(ours, path)
    assert (report.source, report.complete, report.ignored) == ("google_vit", True, ())
    assert report.remarks == known_sources()["google_vit"].remarks
    image = picture(IMAGE, IMAGE)
    with torch.inference_mode():
        assert largest_difference(ours(image), theirs(image)) <= 1e-5 * theirs(image).abs().max()


@pytest.mark.parity
@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize(("pool", "prefix"), [("avg", ""), ("token", "params/"), ("map", "params/img/")])
def test_a_vit_of_big_vision_has_the_logits_of_timms_own_reader(tmp_path, pool, prefix, stacked):
    import_peer("timm")
    from timm.models.vision_transformer import VisionTransformer

    path = written(tmp_path / "release.npz", big_vision_shapes(pool, stacked=stacked), prefix=prefix)
    options = dict(class_token=pool == "token", global_pool=pool, no_embed_class=True, fc_norm=False)
    theirs = VisionTransformer(
        img_size=IMAGE, patch_size=PATCH, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, num_classes=CLASSES, **options
    )
    theirs.double().eval().load_pretrained(path)
    head = dict(avg="mean", token=None, map="map")[pool]
    ours = densevit.create_classifier(
        "vit_tiny", num_classes=CLASSES, head=head, head_options=dict(num_heads=HEADS) if pool == "map" else None, **VIT
    )
    report = load_weights(ours.double().eval(), path)
    source = "bigvision_siglip" if "img/" in prefix else "bigvision_vit"
    assert (report.source, report.complete, report.ignored, report.fresh) == (source, True, (), ())
    image = picture(IMAGE, IMAGE).double()
    with torch.inference_mode():
        assert largest_difference(ours(image), theirs(image)) <= 1e-12 * theirs(image).abs().max()


def test_the_image_encoder_of_siglip_leaves_texts_aside_and_has_no_classes_of_its_own(tmp_path):
    shapes = {f"img/{name}": shape for name, shape in big_vision_shapes("map").items() if "/head/" not in f"/{name}"}
    shapes |= {"txt/Embed_0/embedding": (7, DIM), "t": (1,), "b": (1,)}
    path = written(tmp_path / "webli.npz", shapes, prefix="params/")
    heads = dict(head="map", head_options=dict(num_heads=HEADS))
    ours = densevit.create_classifier("vit_tiny", num_classes=CLASSES, **heads, **VIT)
    report = load_weights(ours, path)
    assert (report.source, report.complete) == ("bigvision_siglip", True)
    assert report.ignored == ("txt/Embed_0/embedding", "t", "b")
    assert report.fresh == ("class_head.fc.weight", "class_head.fc.bias")
    assert load_weights(densevit.create_backbone("vit_tiny", **VIT), path).complete


def test_fixed_positions_of_big_vision_are_asked_for_in_a_sentence(tmp_path):
    path = written(tmp_path / "vit_s16.npz", big_vision_shapes("avg", table=False))
    with pytest.raises(ValueError, match="need position='big_vision_sincos' and the model has position='sincos'"):
        densevit.create_backbone("vit_tiny", **VIT, position="sincos", weights=path)
    with pytest.raises(ValueError, match="missing"):
        densevit.create_backbone("vit_tiny", **VIT, weights=path)
    ours = densevit.create_classifier("vit_tiny", num_classes=CLASSES, head="mean", **VIT, position="big_vision_sincos")
    report = load_weights(ours, path)
    assert (report.source, report.complete, report.fresh) == ("bigvision_sincos_vit", True, ())


def test_numbers_of_sixteen_bits_are_those_of_bfloat16(tmp_path):
    path = written(tmp_path / "single.npz", big_vision_shapes("avg"))
    arrays = {name: torch.from_numpy(array).bfloat16() for name, array in np.load(path).items()}
    np.savez(tmp_path / "half.npz", **{name: t.view(torch.int16).numpy().view("V2") for name, t in arrays.items()})
    state, _ = read_checkpoint(tmp_path / "half.npz")
    assert state.keys() == arrays.keys()
    assert all(torch.equal(state[name], arrays[name]) for name in arrays)
    assert load_weights(densevit.create_backbone("vit_tiny", **VIT), tmp_path / "half.npz").complete


@pytest.mark.parity
@pytest.mark.parametrize("source", ["google_bit", "google_hybrid_r", "google_hybrid_s16", "google_hybrid_s32"])
def test_timms_own_reader_makes_the_same_network_of_files_with_convolutions(tmp_path, source):
    size, stages = (64, 64), dict(r=0, s16=3, s32=4).get(source.rpartition("_")[2])
    if source == "google_bit":
        theirs, name, options = of_timm(), "bit_r50x1", dict(dim=32, depths=DEPTHS)
    else:
        name = {0: "vit_tiny_r_s16_p8", 3: "vit_base_r50_s16", 4: "vit_small_r26_s32"}[stages]
        depths = (1, 2, 1, 1)[:stages]
        theirs = hybrid_of_timm(depths, patch_size=1 if depths else 8, size=size)
        options = dict(stem_dim=32, depths=depths, dim=48, depth=4, num_heads=3, image_size=size)
    ours = randomize(densevit.create_classifier(name, num_classes=7, **options), seed=1).eval()
    arrays = {key: tensor.numpy() for key, tensor in to_theirs(ours.state_dict(), source).items()}
    np.savez(tmp_path / "release.npz", **arrays)
    theirs.eval().load_pretrained(tmp_path / "release.npz")
    with torch.inference_mode():
        expected = theirs(picture(*size))
        assert largest_difference(ours(picture(*size)), expected) <= 1e-5 * expected.abs().max()


def test_a_mixer_has_the_logits_of_its_equations_in_the_files_own_layout(tmp_path):
    path = written(tmp_path / "Mixer-B_16.npz", mixer_shapes())
    ours = densevit.create_classifier("mixer_small_p16", num_classes=CLASSES, **MIXER)
    report = load_weights(ours.double().eval(), path)
    assert (report.source, report.complete, report.ignored) == ("google_mixer", True, ())
    arrays = {name: torch.from_numpy(array).double() for name, array in np.load(path).items()}

    def dense(x, name):
        return x @ arrays[f"{name}/kernel"] + arrays[f"{name}/bias"]

    def norm(x, name):
        return F.layer_norm(x, [DIM], arrays[f"{name}/scale"], arrays[f"{name}/bias"], eps=1e-6)

    def mlp(x, name):
        return dense(F.gelu(dense(x, f"{name}/Dense_0")), f"{name}/Dense_1")

    image = picture(IMAGE, IMAGE).double()
    patches = image.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)  # (B, channel, row, column, y, x)
    x = torch.einsum("bcrsyx,yxcd->brsd", patches, arrays["stem/kernel"]).flatten(1, 2) + arrays["stem/bias"]
    for k in range(DEPTH):
        block = f"MixerBlock_{k}"
        x = x + mlp(norm(x, f"{block}/LayerNorm_0").mT, f"{block}/token_mixing").mT
        x = x + mlp(norm(x, f"{block}/LayerNorm_1"), f"{block}/channel_mixing")
    expected = dense(norm(x, "pre_head_layer_norm").mean(1), "head")
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), expected, rtol=1e-10, atol=1e-10)


def test_a_head_behind_one_more_layer_is_remarked(tmp_path):
    path = written(tmp_path / "ViT-B_16.npz", vit_shapes() | of_layer("pre_logits", DIM, DIM))
    report = load_weights(densevit.create_classifier("vit_tiny", num_classes=CLASSES, **VIT), path)
    assert report.ignored == ("pre_logits/kernel", "pre_logits/bias")
    assert "pre_logits, which has no place here; train a new head" in report.remarks[-1]


def test_a_table_of_another_size_is_resized_and_another_depth_refused_in_a_sentence(tmp_path):
    path = written(tmp_path / "ViT-B_16.npz", vit_shapes())
    report = load_weights(densevit.create_backbone("vit_tiny", **VIT | dict(image_size=48, num_tokens=1)), path)
    assert (report.complete, len([line for line in report.reshaped if "pos_embed" in line])) == (True, 1)
    with pytest.raises(ValueError, match="does not fit this model"):
        load_weights(densevit.create_backbone("vit_tiny", **VIT | dict(depth=5)), path)


def test_what_is_no_archive_of_numbers_is_refused_in_a_sentence(tmp_path):
    np.savez(tmp_path / "objects.npz", weights=np.array([{}], dtype=object))
    np.savez_compressed(tmp_path / "zeros.npz", weights=np.zeros(2**20, np.float32))
    (tmp_path / "text.npz").write_bytes(b"PK\3\4 and no more")
    for name, message in (
        ("objects", "damaged or not an archive of numpy's numbers: .*allow_pickle"),
        ("zeros", "would grow to"),
        ("text", "damaged or not an archive of numpy's numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            read_checkpoint(tmp_path / f"{name}.npz")
