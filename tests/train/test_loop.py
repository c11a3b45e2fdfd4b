"""The loop trains any task that keeps the protocol, segmentation or not."""

import pytest
import torch
from torch import nn

from densevit.checkpoint import Header
from densevit.processes import StopSignal
from densevit.progress import Bars
from densevit.train.loop import Loop
from densevit.train.optim import OptimizerOptions, OptimizerStep, ScheduleOptions, create_optimizer
from densevit.train.record import Recorder
from densevit.train.resume import find_resumption
from densevit.train.schema import LoopOptions
from densevit.train.task import Validation

RATE = OptimizerOptions(type="SGD", lr=0.1)
SETTINGS = dict(val_interval=50, checkpoint_interval=50, log_interval=10)


class Line:
    """A task that has nothing of segmentation: y = 2 x + 1 from noisy points."""

    batch_size = 4

    def __init__(self):
        torch.manual_seed(0)
        self.model = self.network = nn.Linear(1, 1)
        self.counts, self.samples, self.updates = {}, range(3), 0
        self.observed, self.before_update = {}, None
        self.header = Header(model=dict(backbone="mit_b0", decoder="all_mlp", num_classes=2))

    def named_parts(self):
        return self.model

    def open_batches(self, first_draw):
        return (self.points(seed) for seed in range(first_draw, 10_000, self.batch_size))

    def points(self, seed):
        random = torch.Generator().manual_seed(seed)
        x = torch.rand(self.batch_size, 1, generator=random)
        return x, 2 * x + 1 + 0.01 * torch.randn(x.shape, generator=random)

    def step(self, batch):
        x, y = batch
        return dict(loss_square=(self.network(x) - y).square().mean())

    def after_update(self):
        self.updates += 1

    def validate(self, *, on_image=None, on_sample=None):
        return Validation(dict(mIoU=-self.step(self.points(0))["loss_square"].item()), "a line")

    def weights(self, trained=None):
        return dict(self.model.state_dict())

    def state(self):
        return dict(updates=self.updates)

    def load(self, weights, state):
        self.model.load_state_dict(weights)
        self.updates = state["updates"]


def run(task, folder, *, max_iters, resume=False):
    folder.mkdir(exist_ok=True)
    loop = Loop(
        task,
        LoopOptions(max_iters=max_iters, **SETTINGS),
        step=OptimizerStep(create_optimizer(task.named_parts(), RATE), device=torch.device("cpu")),
        schedule=ScheduleOptions(type="constant"),
        recorder=Recorder(folder, active=True),
        shown=Bars(enabled=False),
        stop=StopSignal(),
        resumed=find_resumption(folder, model=task.header.model) if resume else None,
    )
    loop.run()
    return loop


def test_the_loop_trains_validates_and_resumes_a_task_of_another_kind(tmp_path):
    task = Line()
    straight = run(task, tmp_path / "straight", max_iters=400)
    assert task.model.weight.item() == pytest.approx(2, abs=0.1)
    assert task.updates == 400
    assert straight.recorder.best > -0.01
    run(Line(), tmp_path / "halves", max_iters=200)
    resumed = Line()
    run(resumed, tmp_path / "halves", max_iters=400, resume=True)
    assert torch.equal(resumed.model.weight, task.model.weight)
    assert resumed.updates == 400
