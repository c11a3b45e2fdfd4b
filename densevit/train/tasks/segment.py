"""Segmentation: crops with a class for every pixel or voxel, and validation by IoU and Dice."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from densevit.checkpoint import Header
from densevit.checkpoint.files import without_weights
from densevit.data import Dataset, Sample
from densevit.evaluate import evaluate
from densevit.labels import IGNORE, colorize
from densevit.losses import create_loss
from densevit.processes import share_buffers
from densevit.segmentor import Segmentor, create_segmentor
from densevit.train.data import named_sides, open_samples, open_stream, warn_of_shared_cases
from densevit.train.schema import ConfigFile, ModelOptions, network_options
from densevit.train.task import NetworkTask, Validation, load_first, register_task
from densevit.train.tasks.supervision import Supervision

if TYPE_CHECKING:
    from densevit.train.distillation.dense import DenseDistillation

logger = logging.getLogger("densevit")


# What training adds to a segmentor: its attribute, what it is, and the keys that ask for it.
ADDED = {
    "supervision": ("auxiliary heads or deep supervision", "auxiliary and deep_supervision"),
    "distillation": ("levels of distillation", "distillation"),
}


class SegmentModel(nn.Module):
    """A segmentor, its loss, and what training adds to it: image (B, C, *S), label (B, *S) -> named losses."""

    def __init__(self, segmentor: Segmentor, loss: nn.Module, supervision: Supervision | None = None):
        super().__init__()
        self.segmentor = segmentor
        self.loss = loss
        self.supervision = supervision
        self.distillation: DenseDistillation | None = None  # which needs to know the data

    def forward(self, image: Tensor, label: Tensor) -> dict[str, Tensor]:
        segmentor = self.segmentor
        if self.supervision is None:
            features = segmentor.forward_levels(image)
            outputs = {"main": segmentor.decoder(features).classify(segmentor.head)}
        else:
            outputs, features = self.supervision(segmentor, image)
        with torch.autocast(image.device.type, enabled=False):  # sums over pixels want full precision
            if self.supervision is None:
                losses = self.loss(outputs["main"].float(), label)
            else:
                losses = self.supervision.total(outputs, label, loss=self.loss)
        if self.distillation is None:
            return losses
        maps = features[len(features) - len(segmentor.backbone.out_channels) :]
        return self.distillation(losses, outputs, maps, image, label)

    def named_parts(self) -> nn.Module:
        """What is trained: backbone, decoder, head, and auxiliary and distillation where they are there."""
        parts = dict(auxiliary=self.supervision, distillation=self.distillation)
        added = {name: part for name, part in parts.items() if part is not None}
        return nn.ModuleDict({**dict(self.segmentor.named_children()), **added}) if added else self.segmentor


def create_segment_model(config: ConfigFile, kind: type[SegmentModel] = SegmentModel) -> SegmentModel:
    """What a config says of model, loss, auxiliary heads and deep supervision, with the weights that it names."""
    segmentor, settings = create_model(config.model), config.train_cfg
    if config.load_from is not None:
        load_first(segmentor, config.load_from, backbone=config.model.backbone, decoder=config.model.decoder)
    segmentor.backbone.set_checkpointing(settings.checkpointing)
    loss = create_loss(config.loss, ignore_index=IGNORE)
    supervision = None
    if config.auxiliary or config.deep_supervision is not None:
        added = dict(auxiliary=config.auxiliary, deep=config.deep_supervision)
        supervision = Supervision(segmentor, **added, loss=config.loss, ignore_index=IGNORE)
    if settings.compile:
        for part in [segmentor.backbone, segmentor.decoder] if supervision is None else [supervision]:
            part.compile()
    return kind(segmentor, loss, supervision)


def make_header(config: ConfigFile, dataset: Dataset) -> Header:
    """The header of the model, the classes and the inference of a config."""
    model = {key: value for key, value in vars(config.model).items() if key != "weights"}
    model["backbone_options"] = network_options(model["backbone_options"])
    imports = config.import_names
    return Header(
        model=model,
        classes=tuple(dataset.classes),
        palette=tuple(dataset.palette),
        ignore_index=dataset.ignore_index,
        inference=replace(config.inference, sides=named_sides(config, dataset)),
        normalization=dataset.normalization,
        exif=(dataset.exif or "apply") if hasattr(dataset, "exif") else None,  # which sets of volumes do not have
        spacing=None if dataset.spacing is None else tuple(dataset.spacing),
        slices=dataset.slices,
        clips=getattr(dataset, "clips", None),
        images=getattr(dataset, "image_names", None),  # which a data set of one's own need not have
        label_values=None if dataset.label_values is None else tuple(dataset.label_values),
        more=dict(custom_imports=imports) if imports else {},
        modality=getattr(dataset, "modality", None),  # a data set of one's own may say nothing of it
    )


@register_task("segment", config=ConfigFile)
class SegmentTask(NetworkTask):
    """The task of a config: models and data sets are opened here, so that mistakes are told before a run begins."""

    part = "segmentor"
    model_type = SegmentModel

    def __init__(self, config: ConfigFile, device: torch.device):
        model = create_segment_model(config, self.model_type)
        self.stream = open_stream(config)
        self.samples = None if config.val_data is None else open_samples(config, "val_data")
        if self.samples is not None:
            warn_of_shared_cases(self.stream.dataset, self.samples.dataset)
        self.header = make_header(config, self.stream.dataset)
        if config.distillation is not None:
            from densevit.train.distillation.dense import create_distillation  # here, for few runs have teachers

            model.distillation = create_distillation(model.segmentor, config.distillation, self.header, device)
        super().__init__(config, device, model=model, num_images=len(self.stream.dataset))
        self.counts = dict(ignored_batches=0)

    def named_parts(self) -> nn.Module:
        return self.model.named_parts()

    def step(self, batch: Mapping[str, Any], **more: Tensor) -> dict[str, Tensor]:
        """Losses of dict(image (B, C, *S), label (B, *S), meta); a batch that is all ignored is counted, and teaches
        nothing: its loss is 0 and so are its gradients. `more` is for a model that takes it.
        """
        if not bool((batch["label"] != IGNORE).any()):
            self.counts["ignored_batches"] += 1
            if self.counts["ignored_batches"] <= 3:
                names = ", ".join(str(meta["label"]) for meta in batch["meta"])
                logger.warning("every pixel of the batch is ignored (%s)", names)
        image, label = (batch[key].to(self.device, non_blocking=True) for key in ("image", "label"))
        return self.network(image, label, **more)

    def validate(
        self,
        *,
        on_image: Callable[[int, int], bool] | None = None,
        on_sample: Callable[[Sample, dict[str, Tensor]], None] | None = None,
    ) -> Validation | None:
        def on_prediction(sample: Sample, labels: Tensor) -> None:
            if on_sample is not None:
                on_sample(sample, dict(pred_sem_seg=labels, gt_sem_seg=sample.label))

        share_buffers(self.final_model)
        found = evaluate(
            self.final_model,
            self.samples,
            inference=vars(self.config.inference),
            device=self.device,
            num_workers=self.config.val_data.num_workers,
            num_pictures=self.config.visualization.num_shown,
            on_image=on_image,
            on_prediction=on_prediction,
        )
        if found is None:
            return None
        dataset = self.stream.dataset
        scores, text = found.scores.as_dict(tuple(dataset.classes)), found.scores.table(tuple(dataset.classes))
        return Validation(scores, text, [self._draw(*picture) for picture in found.pictures])

    def _draw(self, image: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Image, truth and prediction side by side."""
        maps = [colorize(part, self.stream.dataset.palette, ignore_index=IGNORE) for part in (label, prediction)]
        return np.concatenate([image, *maps], axis=1)

    def state(self) -> dict[str, Any]:
        """The same, and what training adds."""
        parts = {name: getattr(self.model, name) for name in ADDED}
        added = {name: None if part is None else dict(part.state_dict()) for name, part in parts.items()}
        return {**added, **super().state()}

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        for name, (what, keys) in ADDED.items():
            part, saved = getattr(self.model, name), state.get(name) or {}
            if saved.keys() != ({} if part is None else part.state_dict()).keys():
                raise ValueError(
                    f"the checkpoint was trained with other {what}; choose another --work-dir, or set {keys} as before"
                )
            if part is not None:
                part.load_state_dict(saved)
        super().load(weights, state)

    def __str__(self) -> str:
        count = sum(p.numel() for p in self.model.segmentor.parameters())
        section = self.config.model
        val = "none" if self.samples is None else len(self.samples)
        return (
            f"{section.backbone} + {section.decoder}, {count / 1e6:.2f} M parameters; "
            f"{len(self.stream.dataset)} training images, {val} for validation"
        )


def create_model(options: ModelOptions, *, trained: bool = False) -> Segmentor:
    """The segmentor of a config; `trained` for one whose weights come later, so that none are loaded here.

    ValueError that begins with "model" for what its builders refuse.
    """
    if trained:
        inner = without_weights(network_options(options.backbone_options))
        options = replace(options, weights=None, backbone_options=inner)
    try:
        return create_segmentor(**vars(options))
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"model: {error.args[0]}") from None
