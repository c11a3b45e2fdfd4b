"""Group norm that keeps its digits in every layout."""

from torch import Tensor, nn


class GroupNorm(nn.GroupNorm):
    """torch's, (B, C, *S) -> (B, C, *S).

    On a CPU torch adds up images whose channels are last in memory in another order, with up to a hundred times the
    error: they are copied into the other layout first.
    """

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image.contiguous() if image.device.type == "cpu" else image)
