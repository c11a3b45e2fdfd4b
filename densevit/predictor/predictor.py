"""One checkpoint as a function from picture to label map.

Legend: picture (H, W, 3) uint8 RGB, image (3, H, W) normalised, logits (K, H, W), label (H, W).
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densevit.devices import pick_device
from densevit.inference.network import AMP_DTYPES
from densevit.inference.reduce import labels as to_labels
from densevit.labels import label_type
from densevit.pictures.normalize import normalize_image
from densevit.pictures.reading import read_image
from densevit.predictor.header import parse_header
from densevit.predictor.options import inference_options
from densevit.predictor.sizes import predict_image, stream_labels, streams
from densevit.segmentor import create_segmentor
from densevit.units import parse_bytes
from densevit.weights import load_weights, read_weights


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
        checkpoint: str | Path,
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
        autocast(torch.device("cpu"), amp)  # refuses a name that it does not know
        path = weights_file(checkpoint)
        _, header = read_weights(path)
        described = parse_header(header, path)
        self.config = dict(header)
        self.device = pick_device(device)
        self.amp = amp
        self.num_classes = described.num_classes
        self.classes = described.class_names
        self.palette = described.colors
        self.normalization = described.mean_and_std
        given = dict(mode=mode, roi_size=roi_size, stride=stride, batch_size=batch_size, flips=flips, scales=scales)
        self.inference = inference_options({"base_size": described.base_size, **(described.inference or {})}, given)
        self.max_memory = None if max_memory is None else parse_bytes(max_memory)
        if max_memory is not None and not streams(self.inference):
            raise ValueError("max_memory bounds windows of a picture seen once; ask for mode 'slide', no flips, scales")
        model = build_model(described.model, path).eval().to(self.device)
        self.model: nn.Module = torch.compile(model) if compile else model

    def __call__(self, picture: str | Path | np.ndarray) -> Prediction:
        logits = self.logits(self._image(picture))
        label = to_labels(logits)
        return Prediction(label.cpu().numpy().astype(label_type(self.num_classes)), logits)

    def label(self, picture: str | Path | np.ndarray) -> np.ndarray:
        """The label map (H, W) alone: by windows, a picture of any size takes a strip of logits, not all of them."""
        image = self._image(picture)
        if not streams(self.inference):
            return to_labels(self.logits(image)).cpu().numpy().astype(label_type(self.num_classes))
        with self._autocast():
            options = dict(inference=self.inference, device=self.device, max_memory=self.max_memory)
            return stream_labels(self.model, image, **options).cpu().numpy().astype(label_type(self.num_classes))

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
        return normalize_image(picture, **self.normalization)

    def logits(self, image: Tensor) -> Tensor:
        """(3, H, W) normalised -> (K, H, W), on the predictor's device."""
        with self._autocast():
            return predict_image(self.model, image.to(self.device), inference=self.inference)

    def _autocast(self) -> AbstractContextManager:
        return autocast(self.device, self.amp)


def autocast(device: torch.device, amp: str | None) -> AbstractContextManager:
    """Mixed precision of that name ("bf16", "fp16"), or none."""
    if amp is not None and amp not in AMP_DTYPES:
        raise ValueError(f"amp must be one of {', '.join(AMP_DTYPES)} or None, got {amp!r}")
    return torch.autocast(device.type, AMP_DTYPES[amp]) if amp else nullcontext()


def weights_file(checkpoint: str | Path) -> Path:
    """The weights file that a path means: itself, or the one in that folder. FileNotFoundError when there is none."""
    path = Path(checkpoint)
    if path.is_dir():
        path = path / "weights.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}; give the weights.safetensors that training wrote")
    return path


def build_model(description: Mapping[str, Any], path: Path) -> nn.Module:
    """The model that a checkpoint describes, with its weights."""
    model = create_segmentor(**_without_weights(description))
    load_weights(model, path, source="densevit")
    return model


def _without_weights(description: Mapping[str, Any]) -> dict[str, Any]:
    """The model's description without files of pretrained weights, which the checkpoint replaces."""
    return {
        key: _without_weights(value) if isinstance(value, Mapping) else value
        for key, value in description.items()
        if key != "weights"
    }


def _described(thing: Any) -> str:
    return f"{thing.dtype} of shape {thing.shape}" if isinstance(thing, np.ndarray) else type(thing).__name__
