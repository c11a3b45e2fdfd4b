"""DINO's loss: a student tells of each view what its teacher tells of another view of the same image.

Legend: V views of the student, G large ones of the teacher, which are the student's first; B images; K outputs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.processes import mean_of_processes


def dino_loss(outputs: Tensor, targets: Tensor, *, temperature: float) -> Tensor:
    """Outputs of the student (V, B, K), shares of the teacher (G, B, K) -> mean cross entropy.

    The mean is over images and over pairs of a large view and another view.
    """
    known = F.log_softmax(outputs / temperature, dim=-1)
    pairs = -torch.einsum("gbk,vbk->gv", targets, known) / outputs.shape[1]
    different = ~torch.eye(len(targets), len(outputs), dtype=torch.bool, device=pairs.device)
    return pairs[different].mean()


class Centre(nn.Module):
    """The running mean of what a teacher says, which is taken away before it is sharpened."""

    def __init__(self, out_dim: int, *, momentum: float):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(out_dim))

    def forward(self, outputs: Tensor, *, temperature: float) -> Tensor:
        """(G, B, K) -> shares (G, B, K)."""
        return ((outputs - self.mean) / temperature).softmax(dim=-1)

    @torch.no_grad()
    def update(self, outputs: Tensor) -> None:
        """Take in the outputs (G, B, K) of a batch, of all processes."""
        batch = mean_of_processes(outputs.flatten(0, -2).mean(0))
        self.mean.lerp_(batch, 1 - self.momentum)
