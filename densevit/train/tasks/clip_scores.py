"""How well images and texts find one another, and how well classes are told by their names."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densevit.clip import Clip
from densevit.clip.prompts import class_embeddings, encode_texts
from densevit.clip.tokenizer import TextTokenizer
from densevit.clip.zero_shot import ZeroShotClassifier
from densevit.data.class_set import ClassDataset
from densevit.data.dataset import Sample
from densevit.data.stream import EvalSet
from densevit.processes import gather, rank_and_size
from densevit.tables import format_table
from densevit.train.tasks.class_scores import ClassScores, score_classifier, view_loader
from densevit.train.tasks.clip_options import ClipConfig
from densevit.workers import drawing


@dataclass(frozen=True)
class ClipScores:
    """`pairs` are means in percent; `of_classes` and `classes` are of zero-shot classification, None without it."""

    pairs: dict[str, float]
    of_classes: ClassScores | None
    classes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """All of them by name; those of single classes under "classes"."""
        return self.pairs | ({} if self.of_classes is None else self.of_classes.as_dict(self.classes))

    def text(self) -> str:
        """The means as a table."""
        return format_table([self.pairs | ({} if self.of_classes is None else self.of_classes.means)])


def recalls(images: Tensor, texts: Tensor, belongs: Sequence[np.ndarray]) -> dict[str, float]:
    """Images (N, C) and texts (T, C), each of length 1, and the numbers of each image's texts -> recalls in percent.

    "text_recall": images whose nearest text is one of theirs; "image_recall": texts whose nearest image has them;
    "recall" is the mean of both.
    """
    cosines = images @ texts.mT
    of_images = [int(text) in own for text, own in zip(cosines.argmax(1), belongs, strict=True)]
    of_texts = [number in belongs[int(image)] for number, image in enumerate(cosines.argmax(0))]
    found = dict(text_recall=100 * float(np.mean(of_images)), image_recall=100 * float(np.mean(of_texts)))
    return found | dict(recall=(found["text_recall"] + found["image_recall"]) / 2)


@torch.inference_mode()
def score_clip(
    model: Clip,
    samples: EvalSet,
    tokenizer: TextTokenizer,
    *,
    config: ClipConfig,
    section: str,
    classes: ClassDataset | None = None,
    on_image: Callable[[int, int], bool] | None = None,
    on_sample: Callable[[Sample, dict[str, Tensor]], None] | None = None,
) -> ClipScores | None:
    """Score on pairs, and on images by class where there are any; other processes of a group take their share.

    `on_image(done, total)` is as `score_classifier` has it, of pairs and then of classes, and so is `on_sample`, of
    pairs alone; None if that was stopped.
    """
    options, dataset = getattr(config, section), samples.dataset
    rank, size = rank_and_size()
    order, done, device = range(rank, len(samples), size), 0, model.logit_scale.device
    mine: list[Tensor] = []
    loading = dict(batch_size=options.batch_size, num_workers=options.num_workers)
    with _evaluated(model), drawing(view_loader(samples, config.view, order, **loading)) as batches:
        texts = encode_texts(model, dataset.texts, tokenizer).float().cpu()
        for batch in batches:
            found = model.image_features(torch.stack([sample.image for sample in batch]).to(device)).float().cpu()
            mine.append(found)
            for sample, nearest in zip(batch, (found @ texts.mT).argmax(1), strict=True):
                if on_sample is not None:
                    on_sample(sample, dict(pred_label=nearest, gt_label=sample.label))
                done += 1
                if on_image is not None and on_image(done, len(order)):
                    return None
        images = torch.empty(len(samples), texts.shape[1])
        for other, each in enumerate(gather(torch.cat(mine) if mine else images[:0])):
            images[other::size] = each
        of_classes = None
        if classes is not None:
            vectors = class_embeddings(model, classes.classes, tokenizer, templates=config.templates)
            loading = dict(batch_size=config.zero_shot.batch_size, num_workers=config.zero_shot.num_workers)
            named = ZeroShotClassifier(model, vectors)
            seen = dict(view=config.view, device=device, on_image=on_image)
            of_classes = score_classifier(named, EvalSet(classes), **seen, **loading)
            if of_classes is None:
                return None
    return ClipScores(recalls(images, texts, dataset.numbers), of_classes, () if classes is None else classes.classes)


@contextmanager
def _evaluated(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
