"""Transforms of albumentations by name, as `augment.extra` lists them for pictures."""

import re
from collections.abc import Mapping, Sequence
from inspect import signature
from random import Random
from typing import Any

import numpy as np

from densevit.data.augment.probe import SEEDS, check_changes, find_transform
from densevit.environment import environment_variable
from densevit.labels import IGNORE

with environment_variable("NO_ALBUMENTATIONS_UPDATE", "1"):  # else importing it asks the network for a newer version
    import albumentations as A

Fill = float | Sequence[float]


def create_extra(entry: Mapping[str, Any], *, fill: Fill, size: tuple[int, int]) -> A.BasicTransform:
    """The transform of dict(type="GaussianBlur", p=0.1), tried once on a crop of `size`.

    What it brings in from beyond the border is `fill`, and ignored in the label. ValueError for an unknown name or
    argument, for what albumentations refuses, and for a transform that does not keep size and type of its pictures.
    """
    classes = {name: kind for name, kind in vars(A).items() if isinstance(kind, type)}
    name = entry.get("type")
    if issubclass(classes.get(str(name), A.BasicTransform), A.BaseCompose):
        raise ValueError(f"augment.extra: {name} holds other transforms; list them one by one, each with its p")
    known = {name: kind for name, kind in classes.items() if issubclass(kind, A.BasicTransform)}
    kind, options = find_transform(entry, known, what="albumentations has no transform named")
    transform = _build(kind, options, fill=fill)
    _try(name, transform, size)
    return transform


def _build(kind: type[A.BasicTransform], options: dict[str, Any], *, fill: Fill) -> A.BasicTransform:
    takes = signature(kind.__init__).parameters
    ours = {}
    if "fill_mask" in takes and takes["fill_mask"].default is not None:  # None: the label is left as it is
        ours = dict(fill=fill, fill_mask=IGNORE)
    attempts = [ours | options, {**{key: ours[key] for key in ours if key != "fill"}, **options}]
    for attempt in attempts:  # the second with the transform's own fill, where it takes no colour
        try:
            return kind(**attempt)
        except (TypeError, ValueError) as error:
            reason = _one_line(error)
    raise ValueError(f"augment.extra: {kind.__name__} cannot be made of {options}: {reason}")


def _try(name: str, transform: A.BasicTransform, size: tuple[int, int]) -> None:
    """Use it on noise of bytes and of floating-point numbers; some take only one of the two."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, size, dtype=np.uint8)
    noise = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    probability, transform.p = transform.p, 1.0
    pipeline, reasons = A.Compose([transform]), []
    for image in (noise, (noise / 255).astype(np.float32)):
        trials = []
        try:
            for seed in SEEDS:
                pipeline.set_random_state(np.random.default_rng(seed), Random(seed))
                done = pipeline(image=image.copy(), mask=label.copy())
                trials.append((done["image"], done["mask"]))
        except Exception as error:  # whatever albumentations or OpenCV raise
            reasons.append(_one_line(error))
            continue
        check_changes(name, (image, label), trials=trials, every_time=probability >= 1 and image is noise)
    transform.p = probability
    if len(reasons) == 2:
        raise ValueError(f"augment.extra: {name} cannot be used on a crop of {size}: {reasons[0]}")


def _one_line(error: Exception) -> str:
    text = re.sub(r"For further information visit \S+", "", str(error))  # which pydantic adds
    return " ".join(text.split())[:300] or type(error).__name__
