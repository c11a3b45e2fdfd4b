"""What frozen features know while a backbone is trained without labels: classes of images, or of places in them."""

from functools import partial

import torch

from densevit.backbones.base import Backbone
from densevit.data.stream import EvalSet
from densevit.train.dense_probe import OnImage, known_patches, score_patches
from densevit.train.probe import frozen_features, neighbour_logits
from densevit.train.task import Validation
from densevit.train.tasks.class_scores import ClassScores
from densevit.train.tasks.dino_data import open_labelled
from densevit.train.tasks.dino_options import DinoConfig


class FrozenScores:
    """The sets `known` and `asked` of a config, and how well the first tell the classes of the second by neighbours."""

    def __init__(self, config: DinoConfig, device: torch.device):
        known, self.section = config.known, config.val_data
        self.config, self.device = config, device
        self.known = EvalSet(open_labelled(known.dataset, config.model, section="reference_data"))
        self.asked = EvalSet(open_labelled(self.section.dataset, config.model, section="val_data"))
        self.classes = tuple(self.asked.dataset.classes)
        if tuple(self.known.dataset.classes) != self.classes:
            raise ValueError("val_data and the set by which it is scored have other classes; give both the same")

    def validate(self, backbone: Backbone, *, on_image: OnImage = None) -> Validation | None:
        """Scores of a backbone; None where `on_image(done, total)`, called after each image, returned True to stop."""
        return self._of_images(backbone, on_image) if self.section.of_classes else self._of_places(backbone, on_image)

    def _of_images(self, backbone: Backbone, on_image: OnImage) -> Validation | None:
        section, config = self.section, self.config
        options = dict(view=config.view, device=self.device, batch_size=section.batch_size, on_image=on_image)
        found = []
        for samples in (self.known, self.asked):
            found.append(frozen_features(backbone, samples, num_workers=section.num_workers, **options))
            if found[-1] is None:
                return None
        (known, labels), (asked, truth) = found
        logits = neighbour_logits(known, labels, asked, num_classes=len(self.classes), k=config.neighbours)
        scores = ClassScores.of(logits, truth)
        return Validation(scores.as_dict(self.classes), scores.text())

    def _of_places(self, backbone: Backbone, on_image: OnImage) -> Validation | None:
        size = None if self.config.view is None else self.config.view.size
        options = dict(size=size, device=self.device, num_workers=self.section.num_workers, on_image=on_image)
        known = known_patches(backbone, self.known, **options)
        if known is None:
            return None
        ask = partial(neighbour_logits, *known, num_classes=len(self.classes), k=self.config.neighbours)
        found = score_patches(backbone, self.asked, [ask], **options)
        if found is None:
            return None
        (scores,) = found
        return Validation(scores.as_dict(self.classes), scores.table(self.classes))
