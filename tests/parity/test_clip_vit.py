"""CLIP's image encoder beside transformers, and the names of its authors."""

import pytest
import torch

import densevit
from densevit.weights import load_weights, to_theirs
from tools.peers import import_peer
from tools.peers.common import copy_weights, largest_difference, picture, randomize

pytestmark = pytest.mark.parity

SMALL = dict(dim=48, depth=4, num_heads=3, image_size=64)


@pytest.fixture(scope="module")
def pair():
    transformers = import_peer("transformers")
    config = transformers.CLIPVisionConfig(
        hidden_size=48,
        intermediate_size=192,
        num_hidden_layers=4,
        num_attention_heads=3,
        image_size=64,
        patch_size=16,
        projection_dim=10,
    )
    theirs = randomize(transformers.CLIPVisionModelWithProjection(config))
    ours = densevit.create_classifier("clip_vit_base_p16", num_classes=10, **SMALL)
    return theirs, copy_weights(theirs, ours, source="huggingface_clip")


@pytest.mark.parametrize("dtype", [torch.float, torch.double], ids=str)
@pytest.mark.parametrize("size", [(64, 64), (96, 80)], ids=str)
def test_maps_and_embeddings_equal_those_of_transformers(pair, size, dtype):
    theirs, ours = (model.to(dtype) for model in pair)
    image = picture(*size).to(dtype)
    with torch.inference_mode():
        expected = theirs(image, output_hidden_states=True, interpolate_pos_encoding=True)
        found = ours.backbone(image)
        *hidden_states, last = expected.hidden_states[1:]
        hidden_states.append(theirs.vision_model.post_layernorm(last))
        for level, hidden in zip(found, hidden_states, strict=True):
            cells = hidden[:, 1:].mT.unflatten(2, level.shape[2:])
            assert largest_difference(level, cells) <= (1e-5 if dtype == torch.float else 1e-10) * cells.abs().max()
        embeddings = expected.image_embeds
        error = largest_difference(ours(image), embeddings) / embeddings.abs().max()
        assert error <= (1e-5 if dtype == torch.float else 1e-10)


@pytest.mark.parametrize(
    ("name", "width", "number"),
    [
        ("clip_vit_base_p32", 512, 87_849_216),
        ("clip_vit_base_p16", 512, 86_192_640),
        ("clip_vit_large_p14", 768, 303_966_208),
        ("clip_vit_large_p14_336", 768, 304_293_888),
    ],
)
def test_the_sizes_are_those_of_transformers_with_the_published_widths(name, width, number):
    with torch.device("meta"):
        ours = densevit.create_classifier(name, num_classes=width)
    assert sum(p.numel() for p in ours.parameters()) == number


def test_a_whole_file_of_the_authors_fills_the_encoder_of_images(tmp_path):
    ours = densevit.create_classifier("clip_vit_base_p16", num_classes=10, **SMALL)
    state = to_theirs(ours.state_dict(), "openai_clip")
    of_texts = {
        "transformer.resblocks.0.ln_1.weight": torch.zeros(8),
        "token_embedding.weight": torch.zeros(9, 8),
        "positional_embedding": torch.zeros(7, 8),
        "ln_final.bias": torch.zeros(8),
        "text_projection": torch.zeros(8, 10),
        "logit_scale": torch.tensor(1.0),
    }
    torch.save(state | of_texts, tmp_path / "clip.pt")
    again = densevit.create_classifier("clip_vit_base_p16", num_classes=10, **SMALL)
    report = load_weights(again, tmp_path / "clip.pt")
    assert (report.source, report.complete, len(report.ignored)) == ("openai_clip", True, len(of_texts))
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in again.state_dict().items())
