"""Our sliding window as a MONAI inferer, for its evaluators and bundles."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor

from densevit.inference.native import NativeGrid
from densevit.inference.reduce import Reduce
from densevit.inference.sliding_window import sliding_window


class SlidingWindowInferer(Inferer):
    """In place of `monai.inferers.SlidingWindowInferer`, whose names and defaults it takes: `inferer(images, network)`.

    Images (B, C, *S) -> logits (B, K, *S), the same to rounding (`grid="monai"`); a MetaTensor stays one. A size in
    `roi_size` that is not positive stands for the image's own. `padding_mode` is "constant" (filled with `cval`),
    "replicate" or "reflect". `sw_device` is where the network runs, `device` where sums and result are kept.
    `progress`, `cache_roi_weight_map`, `cpu_thresh`, `buffer_steps` and `buffer_dim` are taken and change nothing: what
    they are for is so anyway. ValueError for another `sigma_scale` than 0.125 and for `with_coord`.

    Beyond MONAI's: `grid="even"` spaces windows evenly with separable weights; with `reduce="labels"` (or
    "probabilities", ...) the memory no longer grows with classes times volume, and the result (B, 1, *S) takes
    the place of `AsDiscrete(argmax=True)`; `native` gives it on another grid, and a MetaTensor's affine follows.
    The network must return one tensor of its input's size: pick the one of a network that returns several.
    """

    def __init__(
        self,
        roi_size: int | Sequence[int],
        sw_batch_size: int | str = 1,
        overlap: float | Sequence[float] = 0.25,
        mode: str = "constant",
        sigma_scale: float = 0.125,
        padding_mode: str = "constant",
        cval: float = 0.0,
        sw_device: torch.device | str | None = None,
        device: torch.device | str | None = None,
        progress: bool = False,
        cache_roi_weight_map: bool = False,
        cpu_thresh: int | None = None,
        buffer_steps: int | None = None,
        buffer_dim: int = -1,
        with_coord: bool = False,
        *,
        grid: str = "monai",
        reduce: str | Reduce = "logits",
        native: NativeGrid | None = None,
    ):
        super().__init__()
        if sigma_scale != 0.125 or with_coord:
            raise ValueError(
                f"sigma_scale must be 0.125 and with_coord False, got {sigma_scale} and {with_coord}; use MONAI's own"
            )
        self.roi_size = roi_size
        self.native = native
        self.options = dict(
            batch_size=sw_batch_size,
            overlap=overlap,
            blend=str(getattr(mode, "value", mode)),
            padding=cval if padding_mode == "constant" else padding_mode,
            window_device=sw_device,
            device=device,
            grid=grid,
            reduce=reduce,
            native=native,
        )

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """(B, C, *S) -> (B, K, *S), or what `reduce` makes of it; `args` and `kwargs` go to the network."""
        size = inputs.shape[2:]
        roi_size = self.roi_size if not isinstance(self.roi_size, int) else (self.roi_size,) * len(size)
        if len(roi_size) != len(size):
            raise ValueError(
                f"roi_size {tuple(roi_size)} needs images of {len(roi_size)} axes, got {tuple(inputs.shape)}"
            )
        roi_size = [s if r is None or r <= 0 else r for r, s in zip(roi_size, size, strict=True)]
        images = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        results = [
            sliding_window(lambda x: network(x, *args, **kwargs), image, roi_size=roi_size, **self.options)
            for image in images
        ]
        result = torch.stack([r if r.ndim > len(size) else r[None] for r in results])
        return self._with_meta(result, inputs) if isinstance(inputs, MetaTensor) else result

    def _with_meta(self, result: Tensor, inputs: MetaTensor) -> MetaTensor:
        """The same place in the world, on the grid of the result."""
        with_meta = MetaTensor(result).copy_meta_from(inputs)
        if self.native is not None:
            rank = len(self.native.size)
            onto = torch.eye(rank + 1, dtype=with_meta.affine.dtype)
            onto[range(rank), range(rank)] = torch.tensor(self.native.scale, dtype=onto.dtype)
            onto[:rank, rank] = torch.tensor(self.native.offset, dtype=onto.dtype)
            with_meta.affine = with_meta.affine @ onto
        return with_meta
