"""Our sliding window as a MONAI inferer, for its evaluators and bundles."""

from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
from monai import inferers
from monai.data import MetaTensor
from torch import Tensor

from densevit.inference.native import NativeGrid
from densevit.inference.reduce import Reduce
from densevit.inference.sliding_window import sliding_window
from densevit.inference.windows import Placement, Windows


class SlidingWindowInferer(inferers.SlidingWindowInferer):
    """In place of MONAI's class of that name, whose arguments and defaults it takes: `inferer(images, network)`.

    Images (B, C, *S) -> logits (B, K, *S), the same to rounding (`grid="monai"`); a MetaTensor stays one.
    `sw_batch_size` may also be "auto". `progress`, `cache_roi_weight_map`, `cpu_thresh`, `buffer_steps` and
    `buffer_dim` change nothing: what they are for is so anyway. ValueError for another `sigma_scale` than 0.125 and for
    `with_coord`.

    Beyond MONAI's: `grid="even"` spaces windows evenly with separable weights; with `reduce="labels"` (or
    "probabilities", ...) the memory no longer grows with classes times volume, and the result (B, 1, *S) takes
    the place of `AsDiscrete(argmax=True)`; `native` gives it on another grid, and a MetaTensor's affine follows.
    The network must return one tensor of its input's size: pick the one of a network that returns several.
    """

    def __init__(
        self,
        *monai: Any,
        grid: str = "monai",
        reduce: str | Reduce = "logits",
        native: NativeGrid | None = None,
        **keywords: Any,
    ):
        given = signature(inferers.SlidingWindowInferer).bind(*monai, **keywords).arguments
        given.pop("cache_roi_weight_map", None)  # MONAI would make a map that nothing reads
        super().__init__(**given)
        if self.sigma_scale != 0.125 or self.with_coord:
            raise ValueError(
                f"sigma_scale must be 0.125 and with_coord False, got {self.sigma_scale} and {self.with_coord}; "
                "use MONAI's own"
            )
        self.native = native
        self.reduce = reduce
        self.windows = Windows(
            roi_size=self.roi_size,
            overlap=self.overlap,
            blend=self.mode.value,
            grid=grid,
            padding=self.cval if self.padding_mode == "constant" else str(self.padding_mode),
            batch_size=self.sw_batch_size,
        )
        self.placement = Placement(device=self.device, window_device=self.sw_device)

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """(B, C, *S) -> (B, K, *S), or what `reduce` makes of it; `args` and `kwargs` go to the network.

        A size in `roi_size` that is not positive stands for the image's own.
        """
        size = inputs.shape[2:]
        roi_size = self.roi_size if not isinstance(self.roi_size, int) else (self.roi_size,) * len(size)
        if len(roi_size) != len(size):
            raise ValueError(
                f"roi_size {tuple(roi_size)} needs images of {len(roi_size)} axes, got {tuple(inputs.shape)}"
            )
        roi_size = [s if r is None or r <= 0 else r for r, s in zip(roi_size, size, strict=True)]
        options = dict(windows=self.windows, placement=self.placement, reduce=self.reduce, native=self.native)

        def predict(windows: Tensor) -> Tensor:
            return network(windows, *args, **kwargs)

        images = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        results = [sliding_window(predict, image, **options, roi_size=roi_size) for image in images]
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
