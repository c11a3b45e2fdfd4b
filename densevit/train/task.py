"""What is trained, as the loop, the checkpoints and the hooks see it: they know nothing else of a task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from densevit.checkpoint import Header


@dataclass(frozen=True)
class Validation:
    """What a validation found: `scores` by name, those of single classes under "classes"; the same as `text`.

    `images` are for looking at: uint8 (H, W, 3).
    """

    scores: dict[str, Any]
    text: str
    images: list[np.ndarray] = field(default_factory=list)

    @property
    def means(self) -> dict[str, float]:
        """The scores that are single numbers."""
        return {name: value for name, value in self.scores.items() if name != "classes"}


class Task(Protocol):
    """One kind of training: its data, its model on its device, its losses and its validation.

    `network` is the module whose parameters are trained, in a group of processes inside DDP; `model` the same without.
    `counts` are numbers of this process that are logged as the sum over processes and kept in checkpoints. `header` is
    written into every weights file. `samples` are what is validated on, None if there are none.
    """

    model: nn.Module
    network: nn.Module
    counts: dict[str, int]
    header: Header
    batch_size: int
    samples: Dataset | None

    def named_parts(self) -> nn.Module:
        """What is trained, under the names that a config's `lr_multipliers` uses."""

    def open_batches(self, first_draw: int) -> DataLoader:
        """Endless batches of this process, from sample number `first_draw` of the whole run on."""

    def step(self, batch: Any) -> dict[str, Tensor]:
        """Named losses of one batch, which the loop adds up: scalars with gradients."""

    def after_update(self) -> None:
        """Called once the weights have changed."""

    def validate(
        self,
        *,
        on_image: Callable[[int, int], bool] | None = None,
        on_sample: Callable[[Any, dict[str, Tensor]], None] | None = None,
    ) -> Validation | None:
        """Score the model as it is now; None if that was stopped.

        `on_image(done, total)` is called after each sample of this process and may return True to stop; `on_sample`
        before it, with the sample and what was found, under the names that mmsegmentation uses.
        """

    def weights(self, trained: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """What prediction needs: of the state `trained` of `model`, or of what the task itself would save."""

    def state(self) -> dict[str, Any]:
        """What resuming needs besides `weights`, in types that `torch.load(weights_only=True)` reads."""

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Put back what `weights` and `state` gave; ValueError if they are of another task."""
