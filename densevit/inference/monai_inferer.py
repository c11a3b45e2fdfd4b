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

    Beyond MONAI's: `grid="even"` spaces windows evenly with separable weights; with `reduce="labels"` (or
    "probabilities", ...) the memory no longer grows with classes times volume, and the result (B, 1, *S) takes
    the place of `AsDiscrete(argmax=True)`; `native` gives it on another grid.
    The network must return one tensor of its input's size: pick the one of a network that returns several.
    """

    def __init__(
        self,
        roi_size: int | Sequence[int],
        sw_batch_size: int | str = 1,
        overlap: float = 0.25,
        mode: str = "constant",
        *,
        padding_mode: str = "constant",
        cval: float = 0.0,
        sw_device: torch.device | str | None = None,
        device: torch.device | str | None = None,
        grid: str = "monai",
        reduce: str | Reduce = "logits",
        native: NativeGrid | None = None,
    ):
        super().__init__()
        self.roi_size = roi_size
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
        return MetaTensor(result, meta=inputs.meta) if isinstance(inputs, MetaTensor) else result
