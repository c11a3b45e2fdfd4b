"""Convolutions with standardised kernels, and padding as TensorFlow's, of BiT and of hybrid ViTs."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd

EPS = 1e-8  # added to the variance of a kernel


class _Standardised:
    """A convolution (B, C, *S) -> (B, C_out, *S_out) each of whose kernels has a mean of 0 and a variance of 1.

    https://arxiv.org/abs/1903.10520. Where no gradients are wanted, the kernels are made once and kept until the
    weights change: they take as much memory as the weights do. `same=True` pads by `same_padding`.
    """

    def __init__(self, *args: Any, same: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.same = same and any(step > 1 for step in self.stride)
        if self.same:  # with a stride of 1 it is the padding that was given
            self.padding = (0,) * len(self.stride)
        self._kept: tuple[int, Tensor, Tensor] | None = None

    def forward(self, image: Tensor) -> Tensor:
        if self.same:
            image = F.pad(image, same_padding(image.shape[2:], self.kernel_size, self.stride))
        return nd.CONVOLVE[len(self.stride)](image, self.kernels(), self.bias, self.stride, self.padding)

    def kernels(self) -> Tensor:
        """(C_out, C, *kernel_size), standardised."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing() or self._is_untracked():
            return standardise(self.weight)
        weight, kept = self.weight.detach(), self._kept
        # In-place changes count the version up. `kept` holds the memory of the old values, so that no other weights
        # can have come to lie in the same place.
        if kept is None or kept[0] != weight._version or kept[1].data_ptr() != weight.data_ptr():
            with torch.inference_mode(False), torch.no_grad():
                self._kept = kept = (weight._version, weight, standardise(weight))
        return kept[2]

    def train(self, mode: bool = True) -> "_Standardised":
        self._kept = None
        return super().train(mode)

    def _is_untracked(self) -> bool:
        """Made in inference mode, or none of the parameters that a module has: no version tells of changes."""
        return self.weight.is_inference() or type(self.weight) is not nn.Parameter

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}


class _OfImages(_Standardised, nd.CONV[2]):
    __doc__ = _Standardised.__doc__


class _OfVolumes(_Standardised, nd.CONV[3]):
    __doc__ = _Standardised.__doc__


STANDARD_CONV = {2: _OfImages, 3: _OfVolumes}


def standardise(weight: Tensor) -> Tensor:
    """(C_out, C, *K), each of the C_out kernels less its mean, over its deviation."""
    return F.layer_norm(weight, weight.shape[1:], eps=EPS)


def same_padding(size: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> list[int]:
    """What is to be added at the near and far end of each axis, the last axis first, so that ceil(S / stride) remain.

    An odd number of zeros has the larger half at the far end, as in TensorFlow.
    """
    added = []
    for s, k, step in zip(reversed(size), reversed(kernel), reversed(stride), strict=True):
        total = (-(-s // step) - 1) * step + k - s if k > step else 0
        added += [total // 2, total - total // 2]
    return added


class ZeroPaddedPool(nn.Module):
    """The largest of 3 x 3 (x 3) cells, zeros beyond the ends among them: (B, C, *S) -> (B, C, *ceil(S / 2)).

    One zero at both ends, or with `same` those of `same_padding`.
    """

    def __init__(self, spatial_dims: int, *, same: bool = False):
        super().__init__()
        self.pool = nd.MAX_POOL[spatial_dims](3, stride=2)
        self.same = same

    def forward(self, image: Tensor) -> Tensor:
        size = image.shape[2:]
        kernel, stride = ([n] * len(size) for n in (self.pool.kernel_size, self.pool.stride))
        return self.pool(F.pad(image, same_padding(size, kernel, stride) if self.same else [1] * 2 * len(size)))
