"""CLIP itself: an encoder of images and one of texts, whose vectors are compared by their cosine."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone
from densevit.classifier import Classifier
from densevit.clip.text import TextEncoder, TextOptions
from densevit.options import read_options
from densevit.segmentor import create_backbone
from densevit.weights import load_given

FIRST_SCALE, LARGEST_SCALE = math.log(1 / 0.07), math.log(100)
# The published width of the space of both, and that of the encoder of texts.
WIDTHS = {
    "clip_vit_base_p32": (512, 512),
    "clip_vit_base_p16": (512, 512),
    "clip_vit_large_p14": (768, 768),
    "clip_vit_large_p14_336": (768, 768),
    "clip_resnet50": (1024, 512),
    "clip_resnet101": (512, 512),
    "clip_resnet50x4": (640, 640),
    "clip_resnet50x16": (768, 768),
    "clip_resnet50x64": (1024, 1024),
}


class Clip(Classifier):
    """Images (B, C, *S) and numbers of tokens (N, L) -> how well each text fits each image, logits (B, N).

    As a `Classifier` whose classes are the axes of the common space, its `forward` gives the vectors of images; any
    backbone will do. `logit_scale` is the logarithm of the learned factor on the cosines.
    """

    def __init__(self, backbone: Backbone, *, width: int, text: TextOptions):
        super().__init__(backbone, num_classes=width)
        self.text = TextEncoder(width, text)
        self.text_options = text
        self.logit_scale = nn.Parameter(torch.tensor(FIRST_SCALE))

    def image_features(self, image: Tensor) -> Tensor:
        """(B, C, *S) -> (B, width), each of length 1."""
        return F.normalize(self(image), dim=-1)

    def text_features(self, tokens: Tensor) -> Tensor:
        """(N, L) -> (N, width), each of length 1."""
        return F.normalize(self.text(tokens), dim=-1)

    @property
    def scale(self) -> Tensor:
        """The factor on the cosines."""
        return self.logit_scale.exp()

    def logits(self, image: Tensor, tokens: Tensor) -> Tensor:
        """Cosines of images and texts times the learned factor, (B, N)."""
        return self.scale * self.image_features(image) @ self.text_features(tokens).mT


def create_clip(
    name: str,
    *,
    width: int | None = None,
    text: Mapping[str, Any] | None = None,
    weights: str | Path | Mapping[str, Any] | None = None,
    **options: Any,
) -> Clip:
    """Build a CLIP on a backbone by name, such as "clip_vit_base_p16".

    `width` is that of the space which images and texts share, `text` holds fields of `TextOptions`; what they leave
    out is as published with the backbone, or 512. `weights` is a checkpoint of OpenAI, open_clip, transformers or our
    own, or keywords of `load_weights`; `options` are those of `create_backbone`. Unknown names of backbones raise
    KeyError, other options ValueError or TypeError.
    """
    shared, of_texts = WIDTHS.get(name, (512, 512))
    read = read_options(TextOptions, {"dim": of_texts, **(text or {})}, where="text")
    model = Clip(create_backbone(name, **options), width=shared if width is None else width, text=read)
    if weights is not None:
        load_given(model, weights, backbone=name)
    return model
