"""Our losses, called as MONAI calls a loss: logits and a label with a channel -> one number."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from densevit.decoders import DenseMap
from densevit.losses import create_loss

DEFAULT = (dict(type="cross_entropy"), dict(type="dice"))


class SegmentationLoss(nn.Module):
    """logits (B, K, *S), label (B, 1, *S) of class numbers -> the weighted sum of the losses that `config` lists.

    `config` is the `loss` of a config file; by default cross entropy and Dice. Voxels of `ignore_index` do not
    count. Labels that are one-hot, as `AsDiscreted(to_onehot=K)` makes them, are refused with a ValueError.
    """

    def __init__(self, config: Sequence[Mapping[str, Any]] | Mapping[str, Any] = DEFAULT, *, ignore_index: int = 255):
        super().__init__()
        self.loss = create_loss(config if isinstance(config, Mapping) else list(config), ignore_index=ignore_index)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if target.shape[1:2] != (1,) or target.shape[2:] != input.shape[2:]:
            raise ValueError(
                f"expected a label (B, 1, *S) of class numbers for logits {tuple(input.shape)}, got "
                f"{tuple(target.shape)}; leave out AsDiscreted(to_onehot=...) before this loss"
            )
        logits, label = (x.as_tensor() if hasattr(x, "as_tensor") else x for x in (input, target))
        return sum(self.loss(DenseMap(logits), label[:, 0].long()).values())
