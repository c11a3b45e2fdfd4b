"""What is exported: the weights of a run and what their header says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from densevit.predictor.predictor import build_model
from densevit.predictor.volume_header import VolumeHeader, parse_volume_header
from densevit.weights import read_weights

WEIGHTS = "weights.safetensors"
POINTER = "last_checkpoint"  # of a run folder: the name of the newest checkpoint in its first line


@dataclass(frozen=True)
class Source:
    """A trained 3D model, on the CPU and in eval mode, with its header, as read and as checked."""

    path: Path
    model: nn.Module
    header: VolumeHeader
    content: Mapping[str, Any]

    @property
    def inference(self) -> dict[str, Any]:
        """How it predicts, everything said: mode, roi_size, ..., and the divisor as one number an axis."""
        options = self.header.inference_options({})
        rank = self.model.spatial_dims
        divisor = self.model.divisor if options["divisor"] is None else options["divisor"]
        options["divisor"] = [divisor] * rank if isinstance(divisor, int) else list(divisor)
        if isinstance(options["roi_size"], int):
            options["roi_size"] = [options["roi_size"]] * rank
        return options


def open_run(run: str | Path) -> Source:
    """The model of a run folder (its best weights, else its last), or of a weights file or the folder that holds one.

    FileNotFoundError where there are none, ValueError for a file that is no checkpoint of volumes.
    """
    path = find_weights(run)
    _, content = read_weights(path)
    header = parse_volume_header(content, path)
    return Source(path, build_model(header.model, path).eval(), header, content)


def find_weights(run: str | Path) -> Path:
    """The file that `open_run` reads."""
    run = Path(run)
    if run.is_file():
        return run
    candidates = [run / WEIGHTS, run / "best" / WEIGHTS]
    pointer = run / POINTER
    if pointer.is_file():
        candidates.append(run / "checkpoints" / pointer.read_text(encoding="utf-8").split("\n", 1)[0].strip() / WEIGHTS)
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"no weights at {run}; give the folder of a run (with best/{WEIGHTS} or {POINTER}), or its {WEIGHTS}"
    )
