"""The record of one published file: where it lies, what it makes, and under which licence it may be used."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from densevit.normalization import MEAN_STD

SAFETENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"
HALF = dict(type="mean_std", mean=(127.5,) * 3, std=(127.5,) * 3)
CLIP = dict(  # 255 times the numbers that CLIP's authors give
    type="mean_std",
    mean=(122.7709383, 116.7460125, 104.09373615),
    std=(68.5005327, 66.6321579, 70.32316305),
)
VIDEO = dict(type="mean_std", mean=(114.75,) * 3, std=(57.375,) * 3)  # 255 times 0.45 and 0.225
# Whether licences permit commercial use, by the names that the records use.
COMMERCIAL = {
    "Apache-2.0": True,
    "MIT": True,
    "BSD-3-Clause": True,
    "BSD-3-Clause-Clear": True,
    "DINOv3 License": True,  # within its terms, which must be accepted
    "CC-BY-NC": False,
    "CC-BY-NC-4.0": False,
    "NVIDIA NSCL, non-commercial": False,
}
_DIGEST = re.compile(r"[-/]([0-9a-f]{8,64})(?=[./])")  # in names, as torch's downloader reads it, and in addresses


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A file as people ask for it by `name`; None stands for what our sources do not say.

    It lies in the repository `name` of the Hugging Face hub, under the first of `files` that is there, or at `address`.
    It makes `backbone`, with `options` where those are not its defaults, or a whole model with `decoder`. `licence` is
    that of its `Release` unless it has another; `sha256` may be its first digits alone.
    """

    name: str
    backbone: str
    decoder: str | None = None
    num_classes: int | None = None  # of a whole model, or of the classifier that it holds
    options: Mapping[str, Any] = field(default_factory=dict)
    decoder_options: Mapping[str, Any] = field(default_factory=dict)  # beside those of `Family.pairs`
    files: tuple[str, ...] = (SAFETENSORS, PICKLE)
    address: str | None = None
    revision: str | None = None
    sha256: str | None = None
    licence: str | None = None
    trained_on: str | None = None
    score: str | None = None  # as published
    started_from: str | None = None  # the name of the published file that its training began with
    normalization: Mapping[str, Any] | None = field(default_factory=lambda: MEAN_STD)  # of its images
    short: str | None = None  # a word for it where backbone and decoder are known, such as "imagenet"
    gated: bool = False  # only for those who accepted the terms on its page
    source: str | None = None  # the name of its release, which `known_weights` fills in

    @property
    def model(self) -> str:
        """What it makes, in words."""
        return self.backbone if self.decoder is None else f"{self.backbone} + {self.decoder}"


Members = Iterable[tuple[Any, ...]]  # (backbone, word, ...): one file each


def at_hub(name: str, members: Members, *, score: str | None = None, **facts: Any) -> tuple[PublishedFile, ...]:
    """Files of one pattern: each member is a backbone, what stands for each {} in `name`, and its score where known.

    `score` is the sentence into which the scores go: "{} % top-1 on ImageNet".
    """
    return tuple(
        PublishedFile(name=name.format(*_words(word)), backbone=backbone, score=_score(score, given), **facts)
        for backbone, word, *given in members
    )


def at_address(
    address: str, members: Members, *, name: str | None = None, score: str | None = None, **facts: Any
) -> tuple[PublishedFile, ...]:
    """The same at addresses: a file is called as its address ends, or by `name` with the first word of several.

    Where the name of a file, or of its folder, ends in digits of its SHA-256, these are compared.
    """
    found = []
    for backbone, word, *given in members:
        words = _words(word)
        place = address.format(*words)
        digits = _DIGEST.findall(place)
        found.append(
            PublishedFile(
                name=place.rpartition("/")[2] if name is None else name.format(*words),
                backbone=backbone,
                address=place,
                sha256=digits[-1] if digits else None,
                score=_score(score, given),
                **facts,
            )
        )
    return tuple(found)


def _words(word: str | tuple) -> tuple:
    return (word,) if isinstance(word, str) else word


def _score(sentence: str | None, given: list[Any]) -> str | None:
    return None if sentence is None or not given or None in given else sentence.format(*given)
