"""Linear maps in groups of channels."""

import torch
from torch import Tensor, nn


class GroupedLinear(nn.Module):
    """A linear map of each group of channels to its own, without bias: (..., C_in) -> (..., C_out).

    It is the pointwise grouped convolution of tokens.
    """

    def __init__(self, dim_in: int, dim_out: int, *, groups: int = 1):
        super().__init__()
        if dim_in % groups or dim_out % groups:
            raise ValueError(f"{groups} groups or heads must divide widths {dim_in} and {dim_out}; choose other widths")
        self.weight = nn.Parameter(torch.empty(groups, dim_in // groups, dim_out // groups))
        bound = (groups / dim_in) ** 0.5  # as nn.Linear begins
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("...gi,gio->...go", x.unflatten(-1, (len(self.weight), -1)), self.weight).flatten(-2)

    def transposed(self, x: Tensor) -> Tensor:
        """(..., C_out) -> (..., C_in), by the transposed matrices."""
        return torch.einsum("...go,gio->...gi", x.unflatten(-1, (len(self.weight), -1)), self.weight).flatten(-2)


def linear(dim_in: int, dim_out: int, groups: int) -> nn.Module:
    """(..., C_in) -> (..., C_out) without bias, in groups where there are several."""
    return nn.Linear(dim_in, dim_out, bias=False) if groups == 1 else GroupedLinear(dim_in, dim_out, groups=groups)
