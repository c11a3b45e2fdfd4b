"""Classes by their names: what a CLIP's texts make of them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from densevit.clip.model import Clip
from densevit.clip.tokenizer import TextTokenizer
from densevit.labels import check_classes

TEMPLATES = ("a photo of a {}.",)
PIECE = 256  # texts that are encoded at once


@torch.no_grad()
def class_embeddings(
    model: Clip, classes: Sequence[str], tokenizer: TextTokenizer, *, templates: Sequence[str] = TEMPLATES
) -> Tensor:
    """(K, width): of each class the mean of what the templates say of it, every text and then the mean of length 1.

    ValueError for a template without a place {} for the name, and for a tokenizer of another vocabulary.
    """
    check_classes(list(classes))
    check_templates(templates)
    check_tokenizer(model, tokenizer)
    texts = [template.replace("{}", name) for name in classes for template in templates]
    features = encode_texts(model, texts, tokenizer).unflatten(0, (len(classes), len(templates)))
    return F.normalize(features.mean(1), dim=-1)


@torch.no_grad()
def encode_texts(model: Clip, texts: Sequence[str], tokenizer: TextTokenizer) -> Tensor:
    """(N, width), each of length 1, on the model's device."""
    tokens = tokenizer(texts, context=model.text_options.context).to(model.logit_scale.device)
    return torch.cat([model.text_features(piece) for piece in tokens.split(PIECE)])


def check_templates(templates: Sequence[str]) -> None:
    """ValueError where there are none, and for one that does not say where the name stands."""
    wrong = next((text for text in templates if "{}" not in text), None)
    if wrong is not None or not templates:
        raise ValueError(f"templates must be texts with {{}} in the place of a class name, got {wrong or 'none'!r}")


def check_tokenizer(model: Clip, tokenizer: TextTokenizer) -> None:
    """ValueError for a tokenizer of more or fewer tokens than the model was made for."""
    if tokenizer.size != model.text_options.vocab:
        raise ValueError(f"the tokenizer has {tokenizer.size} tokens and the model {model.text_options.vocab}")
