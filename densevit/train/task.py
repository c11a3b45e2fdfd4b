"""What is trained, as the loop, the checkpoints and the hooks see it: they know nothing else of a task.

Which tasks a config can name stands here too. One of your own is registered by a module that the config's
`custom_imports` name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from densevit.checkpoint import Header
from densevit.data.stream import collate
from densevit.processes import distribute
from densevit.registry import check_known
from densevit.train.average import WeightAverage
from densevit.train.resume import list_settings
from densevit.weights import load_given

if TYPE_CHECKING:
    from densevit.train.schema import RunConfig

BUILT_IN = {name: f"densevit.train.tasks.{name}" for name in ("segment", "classify", "mean_teacher", "dino", "clip")}


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
    `counts` are numbers of this process that are logged as the sum over processes and kept in checkpoints, `observed`
    scalars of the newest batch that are logged beside its losses. `header` is written into every weights file.
    `samples` are what is validated on, None if there are none. `before_update` is called once the gradients are there.
    """

    model: nn.Module
    network: nn.Module
    counts: dict[str, int]
    observed: dict[str, Tensor]
    header: Header
    batch_size: int
    samples: Dataset | None
    before_update: Callable[[], None] | None

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


class NetworkTask:
    """What tasks share that train one network, alone or beside others, and save it or the average of its weights.

    `part` is the attribute of the trained `model` that holds it; here it is `saved`. `load_reports` are the files that
    it began with, and the report on each.
    """

    part: str
    stream: Any  # samples by draw number, as `densevit.data.stream.TrainStream`
    join: Callable[[list], dict[str, Any]] = staticmethod(collate)  # samples -> batch
    before_update: Callable[[], None] | None = None

    def __init__(self, config: "RunConfig", device: torch.device, *, model: nn.Module, num_images: int):
        self.config, self.device, self.model = config, device, model
        self.saved: nn.Module = getattr(model, self.part)
        self.settings = {**list_settings(config.to_dict()), "train_data.images": num_images}
        begun = (self.saved.backbone, self.saved)
        self.load_reports = [report for part in begun for report in vars(part).get("load_reports", [])]
        self.counts: dict[str, int] = {}
        self.observed: dict[str, Tensor] = {}
        self.batch_size = config.train_data.batch_size
        decay = config.train_cfg.ema
        self.network = distribute(model, device, sync_bn=config.train_cfg.sync_bn)
        self.average = None if decay is None else WeightAverage(self.saved, decay)

    @property
    def final_model(self) -> nn.Module:
        """The network to validate and to predict with: the averaged one if there is one."""
        return self.average.model if self.average else self.saved

    def named_parts(self) -> nn.Module:
        return self.saved

    def open_batches(self, first_draw: int) -> DataLoader:
        from densevit.train.data import train_loader  # here, for it knows configs, which know tasks

        return train_loader(self.stream, self.config, first_draw=first_draw, device=self.device, join=self.join)

    def after_update(self) -> None:
        if self.average is not None:
            self.average.update(self.saved)

    def weights(self, trained: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The network's, averaged where there is an average."""
        if trained is None:
            return dict(self.final_model.state_dict())
        prefix = f"{self.part}."
        return {name[len(prefix) :]: value for name, value in trained.items() if name.startswith(prefix)}

    def state(self) -> dict[str, Any]:
        """The settings, and where weights are averaged those that are trained."""
        average = self.average
        return dict(
            settings=self.settings,
            raw_weights=None if average is None else dict(self.saved.state_dict()),
            average_updates=0 if average is None else average.updates,
        )

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        raw = state["raw_weights"]
        self.saved.load_state_dict(weights if raw is None else raw)
        if self.average is not None:  # which a run without it may go on with
            self.average.model.load_state_dict(weights)
            self.average.updates = 0 if raw is None else state["average_updates"]


def load_first(network: nn.Module, given: str | Mapping[str, Any], **named: str | None) -> None:
    """Give a network the weights of a config's `load_from`; a ValueError begins with that key.

    `named` are its `backbone` and `decoder`, as `load_given` takes them.
    """
    try:
        load_given(network, given, **named)
    except ValueError as error:
        raise ValueError(f"load_from: {error}") from error


Opener = TypeVar("Opener", bound=Callable[["RunConfig", torch.device], Task])


@dataclass(frozen=True)
class Kind:
    """`config` is the class that the config file becomes, `open` makes a task of such a config on a device."""

    config: type["RunConfig"]
    open: Callable[["RunConfig", torch.device], Task]


KINDS: dict[str, Kind] = {}


def register_task(name: str, *, config: type["RunConfig"]) -> Callable[[Opener], Opener]:
    """Register a class, or another callable that takes a config and a device, as the task of that name."""

    def add(opener: Opener) -> Opener:
        if name in KINDS:
            raise ValueError(f"task {name!r} is registered twice")
        KINDS[name] = Kind(config, opener)
        return opener

    return add


def kind_of(name: object) -> Kind:
    """The task of a config's key `task`; ValueError, with the nearest known name, for an unknown one."""
    check_known(name, {*BUILT_IN, *KINDS}, what="no task named")
    if name not in KINDS:
        import_module(BUILT_IN[name])
    return KINDS[name]
