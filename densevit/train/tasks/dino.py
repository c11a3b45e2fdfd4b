"""Self-distillation without labels (DINO): pictures or volumes, of which several views are seen.

https://arxiv.org/abs/2104.14294
"""

import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from densevit.data import Sample
from densevit.data.views import ViewStream, collate_views
from densevit.train.data import open_images, warn_of_shared_cases
from densevit.train.dino.collapse import observe, said_of_collapse
from densevit.train.dino.loss import Centre, dino_loss
from densevit.train.dino.network import DinoNetwork
from densevit.train.schedules import cosine, warm_up
from densevit.train.task import NetworkTask, Validation, load_first, register_task
from densevit.train.tasks.dino_data import make_backbone_header
from densevit.train.tasks.dino_options import DinoConfig
from densevit.train.tasks.dino_scores import FrozenScores

logger = logging.getLogger("densevit")
GLOBAL = 2  # views that the teacher sees
EVERY = 10  # iterations from one look at the features to the next
EARLY = 100  # iterations after which a collapse is said: at first all features are alike


class DinoModel(nn.Module):
    """A student and its loss: views [(B, C, *size)], shares of the teacher (G, B, K) -> named losses."""

    def __init__(self, student: DinoNetwork, temperature: float):
        super().__init__()
        self.student, self.temperature = student, temperature

    def forward(self, views: list[Tensor], targets: Tensor) -> dict[str, Tensor]:
        outputs = self.student(views).float().unflatten(0, (len(views), -1))  # (V, B, K)
        with torch.autocast(outputs.device.type, enabled=False):
            return dict(loss_dino=dino_loss(outputs, targets, temperature=self.temperature))


@register_task("dino", config=DinoConfig)
class DinoTask(NetworkTask):
    """The task of a config of DINO: the student is trained, and the backbone of its teacher is saved."""

    part = "student"
    join = staticmethod(collate_views)

    def __init__(self, config: DinoConfig, device: torch.device):
        backbone = config.model.create()
        if config.load_from is not None:
            load_first(backbone, config.load_from, backbone=config.model.backbone)
        student = DinoNetwork(backbone, config.head.create(backbone.out_channels[-1]))
        self.teacher = deepcopy(student).requires_grad_(False).to(device)
        self.centre = Centre(config.head.out_dim, momentum=config.teacher.centre_momentum).to(device)
        backbone.set_checkpointing(config.train_cfg.checkpointing)
        if config.train_cfg.compile:
            student.compile()
        self.dataset = open_images(config.train_data.dataset, config.model, section="train_data")
        views = config.train_data.augment.create(fill=self.dataset.fill)
        self.stream = ViewStream(self.dataset, views, seed=config.seed)
        self.scores = None if config.val_data is None else FrozenScores(config, device)
        self.samples = None if self.scores is None else self.scores.asked
        if self.samples is not None:
            warn_of_shared_cases(self.dataset, self.samples.dataset)
        model = DinoModel(student, config.student_temperature)
        super().__init__(config, device, model=model, num_images=len(self.dataset))
        self.header = make_backbone_header(config, self.dataset)
        self.iteration, self.warned = 0, False

    @property
    def final_model(self) -> nn.Module:
        """The teacher, which is better than its student all through training."""
        return self.teacher

    def step(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """The loss of dict(views [(B, C, *size)], meta); the centre follows once it is computed."""
        views = [view.to(self.device, non_blocking=True) for view in batch["views"]]
        options = self.config.teacher
        among = dict(iteration=self.iteration, iters=options.warmup_iters)
        temperature = warm_up(options.first_temperature, options.temperature, **among)
        with torch.no_grad():
            teach(self.teacher)
            features = self.teacher.pool(views[:GLOBAL])
            outputs = self.teacher.head.project(features).float().unflatten(0, (GLOBAL, -1))
            targets = self.centre(outputs, temperature=temperature)
        losses = self.network(views, targets)
        self.centre.update(outputs)
        if self.iteration % EVERY == 0 or not self.observed:
            self._observe(features, targets)
        return losses

    def _observe(self, features: Tensor, targets: Tensor) -> None:
        self.observed = observe(features, targets)
        if self.iteration >= EARLY and not self.warned:
            said = said_of_collapse(self.observed, out_dim=self.config.head.out_dim)
            self.warned = said is not None
            if said is not None:
                logger.warning("iteration %d: %s", self.iteration, said)

    def before_update(self) -> None:
        """The last layer stays as it is in the first iterations."""
        if self.iteration < self.config.freeze_last_layer_iters:
            for parameter in self.model.student.head.last_layer.parameters():
                parameter.grad = None

    @torch.no_grad()
    def after_update(self) -> None:
        """The teacher's parameters follow; buffers, such as counts of batch norms, are its own."""
        done = self.iteration / self.config.train_cfg.max_iters
        momentum = cosine(self.config.teacher.momentum, 1.0, done=done)
        theirs = [parameter.detach() for parameter in self.model.student.parameters()]
        torch._foreach_lerp_(list(self.teacher.parameters()), theirs, 1 - momentum)
        self.iteration += 1

    def validate(
        self,
        *,
        on_image: Callable[[int, int], bool] | None = None,
        on_sample: Callable[[Sample, dict[str, Tensor]], None] | None = None,
    ) -> Validation | None:
        return self.scores.validate(self.teacher.backbone, on_image=on_image)

    def weights(self, trained: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The backbone of the teacher, whatever state of the student is `trained`."""
        return {f"backbone.{name}": value for name, value in self.teacher.backbone.state_dict().items()}

    def state(self) -> dict[str, Any]:
        return dict(
            settings=self.settings,
            student=dict(self.model.student.state_dict()),
            teacher_head=dict(self.teacher.head.state_dict()),
            centre=self.centre.mean,
        )

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        if "teacher_head" not in state:
            raise ValueError("the checkpoint is of another task; choose another --work-dir")
        head = {f"head.{name}": value for name, value in state["teacher_head"].items()}
        try:
            self.model.student.load_state_dict(state["student"])
            self.teacher.load_state_dict({**weights, **head})
            self.centre.mean.copy_(state["centre"])
        except RuntimeError as error:
            raise ValueError(
                "the checkpoint has another head; set head as it was, or choose another --work-dir"
            ) from error
        self.iteration = state["iteration"]

    def __str__(self) -> str:
        count = sum(p.numel() for p in self.model.student.backbone.parameters())
        views = self.stream.views.sizes
        sizes = [" x ".join(map(str, size)) for size in (views[0], views[-1])]
        val = "none" if self.samples is None else len(self.samples)
        return (
            f"{self.config.model.backbone} without labels, {count / 1e6:.2f} M parameters; {len(views)} views of "
            f"{' and '.join(dict.fromkeys(sizes))}; {len(self.dataset)} training images, {val} for validation"
        )


def teach(network: nn.Module) -> None:
    """No dropout and no stochastic depth, but batch norms that look at the batch, as those of the student do."""
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
