"""CLIP beside transformers: features of images and texts, logits, gradients; names of its authors; its vocabulary."""

import json

import pytest
import torch

import densevit
from densevit.clip.tokenizer import NUM_MERGES, TextTokenizer, find_tokenizer
from densevit.losses.contrastive import contrastive_loss
from densevit.weights import load_weights, to_theirs
from tools.peers import import_peer
from tools.peers.common import copy_weights, largest_difference, randomize

pytestmark = pytest.mark.parity
TEXT = dict(dim=32, depth=2, num_heads=2, context=12, vocab=100)
SMALL = dict(dim=48, depth=4, num_heads=3, image_size=64)
OF_A_BLOCK = [
    f"{part}.{kind}"
    for part in ("ln_1", "ln_2", "attn.out_proj", "mlp.c_fc", "mlp.c_proj")
    for kind in ("weight", "bias")
] + ["attn.in_proj_weight", "attn.in_proj_bias"]
OF_TEXTS = [
    *("token_embedding.weight", "positional_embedding", "ln_final.weight", "ln_final.bias", "text_projection"),
    "logit_scale",
    *(f"transformer.resblocks.{k}.{name}" for k in range(2) for name in OF_A_BLOCK),
]


def clip(backbone="clip_vit_base_p16", small=SMALL, **text):
    return densevit.create_clip(backbone, width=10, text=TEXT | text, **small)


@pytest.fixture(scope="module")
def pair():
    transformers = import_peer("transformers")
    shape = dict(intermediate_size=192, num_hidden_layers=4, num_attention_heads=3, image_size=64, patch_size=16)
    texts = dict(vocab_size=100, hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2)
    ends = dict(max_position_embeddings=12, eos_token_id=99, bos_token_id=98, pad_token_id=0)
    config = transformers.CLIPConfig(
        text_config=texts | ends, vision_config=dict(hidden_size=48, **shape), projection_dim=10
    )
    theirs = randomize(transformers.CLIPModel(config)).double()
    return theirs, copy_weights(theirs, clip().double(), source="huggingface_clip")


def rows(length):
    """Three texts of different lengths in rows of this one: start, words, end, then zeros."""
    tokens = torch.zeros(3, length, dtype=torch.long)
    for i, end in enumerate((length - 1, length // 2, 1)):
        tokens[i, : end + 1] = torch.tensor([98, *torch.randint(1, 98, (end - 1,)).tolist(), 99])
    return tokens


@pytest.mark.parametrize("length", [3, 8, 12])
def test_features_logits_and_gradients_equal_those_of_transformers(pair, length):
    theirs, ours = pair
    image, tokens = torch.rand(3, 3, 64, 64, dtype=torch.double), rows(length)
    theirs.zero_grad()
    ours.zero_grad()
    expected = theirs(input_ids=tokens, pixel_values=image, return_loss=True)
    images, texts = ours.image_features(image), ours.text_features(tokens)
    assert largest_difference(images, expected.image_embeds) < 1e-12
    assert largest_difference(texts, expected.text_embeds) < 1e-12
    assert largest_difference(ours.logits(image, tokens), expected.logits_per_image) < 1e-12
    loss = contrastive_loss(images, texts, ours.scale)
    assert largest_difference(loss, expected.loss) < 1e-12
    loss.backward()
    expected.loss.backward()
    for one, other in (
        (ours.logit_scale, theirs.logit_scale),
        (ours.text.embed.weight, theirs.text_model.embeddings.token_embedding.weight),
        (ours.class_head.fc.weight, theirs.visual_projection.weight),
        (ours.text.blocks[0].mlp.fc1.weight, theirs.text_model.encoder.layers[0].mlp.fc1.weight),
    ):
        assert largest_difference(one.grad, other.grad) <= 1e-10 * other.grad.abs().max()


@pytest.mark.parametrize(
    ("backbone", "small", "source"),
    [
        ("clip_vit_base_p16", SMALL, "openai_clip"),
        ("clip_resnet50", dict(dim=8, depths=(1, 1, 1, 1), image_size=64), "openai_clip_resnet"),
    ],
)
def test_a_file_of_the_authors_or_of_open_clip_fills_both_encoders(backbone, small, source, tmp_path):
    ours = randomize(clip(backbone, small))
    state = to_theirs(ours.state_dict(), source)
    assert {name for name in state if not name.startswith("visual.")} == set(OF_TEXTS)
    assert state["text_projection"].shape == (32, 10)
    torch.save(state | dict(context_length=torch.tensor(12)), tmp_path / "clip.pt")
    again = clip(backbone, small)
    report = load_weights(again, tmp_path / "clip.pt")
    assert (report.source, report.complete, report.ignored) == (source, True, ("context_length",))
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in again.state_dict().items())
    classifier = densevit.create_classifier(backbone, num_classes=10, **small)
    report = load_weights(classifier, tmp_path / "clip.pt")
    assert (report.complete, len(report.ignored)) == (True, len(OF_TEXTS) + 1)


def test_files_of_open_clip_may_be_of_gelu_which_the_report_says(tmp_path):
    torch.save(to_theirs(clip().state_dict(), "openai_clip"), tmp_path / "clip.bin")
    report = load_weights(clip(), tmp_path / "clip.bin")
    assert "quick_gelu=False" in report.remarks[0]
    image, tokens = torch.rand(1, 3, 64, 64), rows(6)
    quick, plain = clip(), clip(small=SMALL | dict(quick_gelu=False), quick_gelu=False)
    plain.load_state_dict(quick.state_dict())
    assert not torch.allclose(quick.logits(image, tokens), plain.logits(image, tokens), atol=1e-6)


def test_the_vocabulary_is_that_of_transformers():
    transformers, ours = import_peer("transformers"), find_tokenizer()
    model = json.loads(ours.text)["model"]
    assert (ours.size, len(model["merges"])) == (49408, NUM_MERGES)
    theirs = transformers.CLIPTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])
    texts = ["A photo of a road.", "the Café's  naïve\te-scooter, 12345 isn't here!?", "日本 street 🚗", "", "ab " * 99]
    for text in texts:
        assert ours([text], context=77)[0].tolist() == theirs(text, truncation=True, max_length=77)["input_ids"]
    assert ours(texts[:1], context=77).tolist() == [
        [49406, 320, 1125, 539, 320, 1759, 269, 49407]
    ]  # as OpenAI has them
    again = TextTokenizer(theirs.backend_tokenizer.to_str())  # what tokenizer.json holds
    assert torch.equal(again(texts, context=20), ours(texts, context=20))
