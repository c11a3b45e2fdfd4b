"""One checkpoint as a function from picture to label map.

Legend: picture (H, W, 3) uint8 RGB, image (3, H, W) normalised, logits (K, H, W), label (H, W).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densevit.checkpoint import Checkpoint, build_model, open_checkpoint
from densevit.devices import pick_device
from densevit.inference.reduce import labels as to_labels
from densevit.labels import label_type
from densevit.pictures.normalize import normalize_image
from densevit.pictures.reading import read_image
from densevit.predictor.labels import check_amp, image_logits, label_image
from densevit.units import parse_bytes


@dataclass(frozen=True)
class Prediction:
    """What was seen: `label` (H, W), class numbers as uint8 (uint16 above 255 classes), and its `logits` (K, H, W)."""

    label: np.ndarray
    logits: Tensor


class Predictor:
    """A picture (a path, or uint8 RGB of shape (H, W, 3)) -> its Prediction, at the picture's own size.

    `checkpoint` is one weights.safetensors (or the folder that holds it) whose header says how the model is built,
    what its classes are and how it was tested. `mode`, `roi_size`, `stride`, `batch_size`, `flips` and `scales`
    override what the header says about inference, see `densevit.inference.predict_logits`; `amp` is "bf16" or "fp16";
    `max_memory` ("8GB", or bytes) bounds what `label` takes by windows beside model and picture.
    Raises FileNotFoundError, and ValueError for a file that is no such checkpoint.
    """

    def __init__(
        self,
        checkpoint: str | Path | Checkpoint,
        *,
        device: str | torch.device = "cpu",
        amp: str | None = None,
        mode: str | None = None,
        roi_size: Sequence[int] | None = None,
        stride: Sequence[int] | None = None,
        batch_size: int | None = None,
        flips: Sequence[Any] | None = None,
        scales: Sequence[float] | None = None,
        max_memory: int | str | None = None,
        compile: bool = False,
    ):
        check_amp(amp)
        opened = open_checkpoint(checkpoint)
        self.header = header = opened.header
        if (header.image_dims, header.in_channels) != (2, 3):
            raise ValueError(
                f"{opened.path} is a {header.image_dims}D model of {header.in_channels} channels, pictures need "
                "a 2D one of 3; predict scans with densevit.predictor.volumes.VolumePredictor"
            )
        self.device = pick_device(device)
        self.amp = amp
        given = dict(mode=mode, roi_size=roi_size, stride=stride, batch_size=batch_size, flips=flips, scales=scales)
        self.inference = header.inference.override(**given).on_axes(2)
        self.max_memory = None if max_memory is None else parse_bytes(max_memory)
        if max_memory is not None and (not self.inference.seen_once or self.inference.mode == "whole"):
            raise ValueError("max_memory bounds windows of a picture seen once; ask for mode 'slide', no flips, scales")
        model = build_model(opened).to(self.device)
        self.model: nn.Module = torch.compile(model) if compile else model

    @property
    def classes(self) -> tuple[str, ...]:
        return self.header.classes

    def __call__(self, picture: str | Path | np.ndarray) -> Prediction:
        logits = self.logits(self._image(picture))
        label = to_labels(logits)
        return Prediction(label.cpu().numpy().astype(label_type(self.header.num_classes)), logits)

    def label(self, picture: str | Path | np.ndarray) -> np.ndarray:
        """The label map (H, W) alone: by windows, a picture of any size takes a strip of logits, not all of them."""
        image, options = self._image(picture), dict(options=self.inference, device=self.device, amp=self.amp)
        return label_image(self.model, image, **options, max_memory=self.max_memory)

    def _image(self, picture: str | Path | np.ndarray) -> Tensor:
        if isinstance(picture, str | Path):
            picture = read_image(picture)
        if (
            not isinstance(picture, np.ndarray)
            or picture.dtype != np.uint8
            or picture.shape[2:] != (3,)
            or not picture.size
        ):
            raise ValueError(
                f"expected a path or a uint8 RGB array of shape (H, W, 3), got {_described(picture)}; "
                "densevit.pictures.reading.read_image makes one of any picture file"
            )
        mean, std = (self.header.normalization[key] for key in ("mean", "std"))
        return normalize_image(picture, mean=mean, std=std)

    def logits(self, image: Tensor) -> Tensor:
        """(3, H, W) normalised -> (K, H, W), on the predictor's device."""
        return image_logits(self.model, image, options=self.inference, device=self.device, amp=self.amp)


def _described(thing: Any) -> str:
    return f"{thing.dtype} of shape {thing.shape}" if isinstance(thing, np.ndarray) else type(thing).__name__
