"""What is exported: the trained model of a run, and its header."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from densevit.checkpoint import Header, build_model, open_checkpoint


@dataclass(frozen=True)
class Source:
    """A trained 3D model, on the CPU and in eval mode, with its header; `imports` are modules that it needs."""

    path: Path
    model: nn.Module
    header: Header
    imports: tuple[str, ...] = ()

    @property
    def inference(self) -> dict[str, Any]:
        """All options of inference, with one number per axis: mode, roi_size, ..., and the divisor that is used."""
        header, rank = self.header, self.model.spatial_dims
        options = header.inference.for_classes(header.classes, spatial_dims=rank, slices=header.slices)
        divisor = self.model.divisor if options.divisor is None else options.divisor
        plain = asdict(replace(options, divisor=divisor).on_axes(rank))
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}


def open_run(run: str | Path) -> Source:
    """The model of a run folder (its best weights, else its last), or of a weights file or the folder that holds one.

    Raises FileNotFoundError where there are no weights, ValueError for a file that is no checkpoint of volumes.
    """
    opened = open_checkpoint(run)
    if opened.header.image_dims != 3:
        raise ValueError(f"{opened.path} describes no 3D model; give the weights.safetensors of a run on volumes")
    return Source(opened.path, build_model(opened), opened.header)
