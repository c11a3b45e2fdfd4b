"""A prepared scan to labels on its own voxels, as `densevit predict` makes them, for MONAI's evaluators and bundles."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor

from densevit.inference import InferenceOptions
from densevit.integrations.monai.transforms import AFFINE, SIZE, tensor_affine, to_standard
from densevit.predictor.labels import label_image
from densevit.volumes.grid import Grid


class ScanInferer(Inferer):
    """`inferer(images, network)`: prepared scans (B, C, *S) -> class numbers (B, 1, *size) on the scans' own voxels.

    Axes stay (D, H, W); `RestoreLabeld` turns them to the file's. Logits are interpolated to the scan's own grid and
    become labels slab by slab, so that memory does not grow with classes times volume, and the mask is that of
    `densevit predict` to the voxel. `inference` is the section of a config: mode, roi_size, stride, flips, ... Without
    a `divisor` the network's own is used, and 1 for a network that has none. `amp` is "bf16" or "fp16"; `max_memory`
    ("4GB") bounds what windows take. ValueError for images that PrepareScand did not prepare.
    """

    def __init__(
        self, *, inference: Mapping[str, Any] | None = None, amp: str | None = None, max_memory: int | str | None = None
    ):
        super().__init__()
        self.inference = InferenceOptions.read(inference or {}).on_axes(3)
        self.amp = amp
        self.max_memory = max_memory

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> MetaTensor:
        """`args` and `kwargs` go to the network."""
        grids = _own_grids(inputs)
        divisor = getattr(network, "divisor", 1) if self.inference.divisor is None else self.inference.divisor
        inference = replace(self.inference, divisor=divisor)
        options = dict(options=inference, device=inputs.device, amp=self.amp, max_memory=self.max_memory)

        def predict(windows: Tensor) -> Tensor:
            return network(windows, *args, **kwargs)

        labels = [
            label_image(predict, image, size=grid.size, out=np.empty(grid.size, np.int16), **options)
            for image, grid in zip(inputs.as_tensor(), grids, strict=True)
        ]
        result = MetaTensor(torch.from_numpy(np.stack(labels)[:, None])).to(inputs.device)
        result.copy_meta_from(inputs)
        affines = np.stack([tensor_affine(grid) for grid in grids])
        result.affine = torch.from_numpy(affines if inputs.is_batch else affines[0])
        return result


def _own_grids(inputs: Tensor) -> list[Grid]:
    """The grid of each scan of a batch, from meta that were collated or are those of one scan."""
    meta = inputs.meta if isinstance(inputs, MetaTensor) else {}
    if AFFINE not in meta or SIZE not in meta:
        raise ValueError(
            "the images are no scans that PrepareScand prepared; put it (densevit.integrations.monai.transforms) "
            "before, and hand its MetaTensor on"
        )
    affines, sizes = np.array(meta[AFFINE]).reshape(-1, 4, 4), np.array(meta[SIZE]).reshape(-1, 3)
    if len(affines) != len(inputs):
        raise ValueError(f"{len(inputs)} scans have the place of {len(affines)}; collate them as MONAI's loader does")
    grids = [to_standard(np.empty((1, *s), bool), a)[1] for s, a in zip(sizes, affines, strict=True)]
    if len({grid.size for grid in grids}) > 1:
        raise ValueError(
            f"the scans of a batch have {' and '.join(str(grid.size) for grid in grids)} voxels of their own, and one "
            "result holds one size; set batch_size=1"
        )
    return grids
