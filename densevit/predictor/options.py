"""How a picture is predicted: what the checkpoint says, overridden by what the user says."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from densevit.options import check_fields
from densevit.predictor.sizes import predict_image
from densevit.registry import check_known


@dataclass(frozen=True, kw_only=True)
class InferenceOptions:
    """The keywords of `predict_image`'s `inference`; None where nothing is said."""

    mode: str | None = None
    roi_size: list | tuple | int | None = None
    stride: list | tuple | int | None = None
    batch_size: int | None = None
    flips: list | tuple | None = None
    scales: list | tuple | None = None
    divisor: int | None = None
    base_size: list | tuple | None = None


def inference_options(said: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint has `said`, overridden by what is `given` and not None; ValueError if they do not fit."""
    given = {key: value for key, value in given.items() if value is not None}
    known = [field.name for field in fields(InferenceOptions)]
    for key in said:
        check_known(key, known, what="inference has no key")
    options = {**said, **given}
    check_fields(InferenceOptions(**options), owner="inference")
    check_windows(options.get("mode"), given)
    for key in ("roi_size", "stride"):
        if isinstance(options.get(key), int):
            options[key] = (options[key],) * 2
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items() if v is not None}
    # They are checked where they are used.
    predict_image(lambda image: image, torch.zeros(3, 8, 8), inference={"divisor": 1, **options})
    return options


def check_windows(mode: str | None, given: Mapping[str, Any]) -> None:
    """Raise ValueError for a window that was asked for and would not be used."""
    for key in ("roi_size", "stride"):
        if mode in (None, "whole") and given.get(key) is not None:
            raise ValueError(
                f"{key} belongs to mode 'slide', and pictures are predicted whole; ask for mode 'slide' too"
            )
