"""CLIP: which text belongs to which image. https://arxiv.org/abs/2103.00020"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densevit.checkpoint import Header
from densevit.clip import Clip
from densevit.clip.model import LARGEST_SCALE
from densevit.clip.prompts import check_tokenizer
from densevit.clip.tokenizer import TextTokenizer, find_tokenizer, learn_tokenizer
from densevit.data import Sample
from densevit.data.class_set import CLASS_DATASETS, ClassDataset
from densevit.data.pair_set import PAIR_DATASETS, PairDataset
from densevit.data.stream import EvalSet, TrainStream
from densevit.losses.contrastive import contrastive_loss
from densevit.predictor.clip_files import open_clip, tokenizer_of
from densevit.processes import process_group, rank_and_size, share_buffers
from densevit.progress import Bars
from densevit.sides import Sides
from densevit.train.data import open_fitting, prepared_as, warn_of_shared_cases
from densevit.train.task import NetworkTask, Validation, load_first, register_task
from densevit.train.tasks.clip_options import ClipConfig
from densevit.train.tasks.clip_scores import ClipScores, score_clip
from densevit.weights import load_weights


class ClipModel(nn.Module):
    """A CLIP and its loss: images (B, C, *S), numbers of tokens (B, L), row by row a pair -> named losses."""

    def __init__(self, clip: Clip):
        super().__init__()
        self.clip = clip

    def forward(self, image: Tensor, tokens: Tensor) -> dict[str, Tensor]:
        images, texts = self.clip.image_features(image), self.clip.text_features(tokens)
        with torch.autocast(image.device.type, enabled=False):
            return dict(loss_contrastive=contrastive_loss(images, texts, self.clip.scale))


@register_task("clip", config=ClipConfig)
class ClipTask(NetworkTask):
    """The task of a config of image-text pairs."""

    part = "clip"

    def __init__(self, config: ClipConfig, device: torch.device):
        self.dataset = open_pairs(config, "train_data")
        self.tokenizer = open_tokenizer(config, self.dataset)
        clip = config.model.create(vocab=self.tokenizer.size)
        if config.load_from is not None:
            load_first(clip, config.load_from, backbone=config.model.backbone)
        check_tokenizer(clip, self.tokenizer)
        clip.backbone.set_checkpointing(config.train_cfg.checkpointing)
        if config.train_cfg.compile:
            clip.compile()
        augment = config.train_data.augment.without_classes()
        made = augment.create(fill=self.dataset.fill, sides=Sides(declared=True))
        self.stream = TrainStream(self.dataset, made, seed=config.seed)
        self.samples = None
        if config.val_data is not None:
            self.samples = EvalSet(open_pairs(config, "val_data"))
            warn_of_shared_cases(self.dataset, self.samples.dataset)
        self.classes = open_zero_shot(config)
        super().__init__(config, device, model=ClipModel(clip), num_images=len(self.dataset))
        self.header = make_clip_header(config, self.dataset, self.tokenizer)

    def step(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Losses of dict(image (B, C, *S), label (B), the numbers of the texts, meta)."""
        texts = [self.dataset.texts[number] for number in batch["label"].tolist()]
        tokens = self.tokenizer(texts, context=self.model.clip.text_options.context)
        return self.network(*(part.to(self.device, non_blocking=True) for part in (batch["image"], tokens)))

    def after_update(self) -> None:
        """The factor on the cosines stays between 1 and 100, as published."""
        with torch.no_grad():
            self.model.clip.logit_scale.clamp_(0, LARGEST_SCALE)
        super().after_update()

    def validate(
        self,
        *,
        on_image: Callable[[int, int], bool] | None = None,
        on_sample: Callable[[Sample, dict[str, Tensor]], None] | None = None,
    ) -> Validation | None:
        share_buffers(self.final_model)
        scores = score_clip(
            self.final_model,
            self.samples,
            self.tokenizer,
            config=self.config,
            section="val_data",
            classes=self.classes,
            on_image=on_image,
            on_sample=on_sample,
        )
        return None if scores is None else Validation(scores.as_dict(), scores.text())

    def __str__(self) -> str:
        count = sum(p.numel() for p in self.model.clip.parameters())
        val = "none" if self.samples is None else len(self.samples)
        return (
            f"CLIP on {self.config.model.backbone}, {count / 1e6:.2f} M parameters; "
            f"{len(self.dataset)} training images, {val} for validation"
        )


def open_pairs(config: ClipConfig, section: str) -> PairDataset:
    """The set of a section; ValueError where it does not fit the model."""
    return open_fitting(getattr(config, section).dataset, config.model, registry=PAIR_DATASETS, section=section)


def open_zero_shot(config: ClipConfig) -> ClassDataset | None:
    """The images by class, None without them; ValueError where they do not fit the model."""
    if config.zero_shot is None:
        return None
    return open_fitting(config.zero_shot.dataset, config.model, registry=CLASS_DATASETS, section="zero_shot")


def open_tokenizer(config: ClipConfig, dataset: PairDataset) -> TextTokenizer:
    """As the key `tokenizer` says; a ValueError begins with it."""
    if isinstance(config.tokenizer, int):
        return learn_tokenizer(dataset.texts, merges=config.tokenizer)
    try:
        return find_tokenizer(config.tokenizer)
    except ValueError as error:
        raise ValueError(f"tokenizer: {error}") from error


def make_clip_header(config: ClipConfig, dataset: PairDataset, tokenizer: TextTokenizer) -> Header:
    """The header of the model, how it sees images, and how it reads texts."""
    view = dict(size=list(config.view.size), crop_ratio=config.view.crop_ratio)
    more = dict(view=view, templates=list(config.templates), tokenizer=tokenizer.text)
    return Header(model=config.model.described(tokenizer.size), **prepared_as(config, dataset, **more))


def score_clip_checkpoint(
    config: ClipConfig,
    checkpoint: str | Path,
    *,
    launcher: str = "none",
    device: str | None = None,
    progress: bool = True,
) -> ClipScores:
    """Scores of the weights in `checkpoint` on `test_data`, else on `val_data`, and on `zero_shot` if it is there.

    `checkpoint` is what `open_clip` reads; its own tokenizer is used.
    """
    section = "test_data" if config.test_data is not None else "val_data"
    if getattr(config, section) is None:
        raise ValueError("the config has no val_data; add one, with its dataset")
    with process_group(launcher, device) as chosen, Bars(enabled=progress and rank_and_size()[0] == 0) as shown:
        dataset, opened = open_pairs(config, section), open_clip(checkpoint)
        tokenizer = tokenizer_of(opened)
        model = config.model.create(vocab=tokenizer.size, trained=True)
        load_weights(model, opened.path, state=opened.tensors, source="densevit")
        return score_clip(
            model.to(chosen),
            EvalSet(dataset),
            tokenizer,
            config=config,
            section=section,
            classes=open_zero_shot(config),
            on_image=partial(shown.show, "test"),
        )
