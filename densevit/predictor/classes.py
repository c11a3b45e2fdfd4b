"""A classifier as a function from image to classes: pictures or scans, from the checkpoint of a run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from densevit.checkpoint import Checkpoint, Header, build_classifier, open_checkpoint
from densevit.data.view import ViewOptions
from densevit.options import read_options
from densevit.predictor.predictor import Image, open_reader
from densevit.processes import pick_device
from densevit.volumes.volume import REFUSING, ReadOptions


@dataclass(frozen=True)
class ClassPrediction:
    """`probabilities` (K) of the `classes`, which sum to 1 unless the loss was that of each class by itself."""

    probabilities: np.ndarray
    classes: tuple[str, ...] = field(repr=False)

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Classes with their probabilities, the likeliest first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [(self.classes[i], float(self.probabilities[i])) for i in order]


class ClassPredictor:
    """A picture or a scan -> its `ClassPrediction`, seen as images were at the validation of its training.

    `checkpoint` is a weights.safetensors of a classifier, the folder that holds it, or that of a run. With `classes`,
    names, it is a CLIP of a run, OpenAI, open_clip or transformers, and `templates` are as `create_zero_shot_segmentor`
    takes them. Images are what `Predictor` takes; `read` says how scans are read. FileNotFoundError, and ValueError for
    a file of another kind.
    """

    def __init__(
        self,
        checkpoint: str | Path | Checkpoint,
        *,
        classes: Sequence[str] | None = None,
        templates: Sequence[str] | None = None,
        device: str | torch.device | None = None,
        read: ReadOptions = REFUSING,
    ):
        if classes is None:
            model, self.header, self.path = _open(checkpoint)
        else:
            from densevit.predictor.zero_shot import classifier_of

            model, self.header, self.path = classifier_of(checkpoint, classes, templates=templates)
        if "view" not in self.header.more:
            raise ValueError(f"{self.path} does not say how images are seen; give a checkpoint of densevit's training")
        self.view = read_options(ViewOptions, self.header.more["view"], where="view")
        self.reader = open_reader(self.header, read)
        self.device = pick_device(device)
        self.model = model.to(self.device)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.header.classes

    @torch.inference_mode()
    def __call__(self, image: Image) -> ClassPrediction:
        prepared = torch.from_numpy(np.ascontiguousarray(self.reader.prepare(self.reader.open(image))[:]))
        logits = self.model(self.view.of(prepared)[None].to(self.device)).double()
        of_each = self.header.more.get("loss") == "binary"
        found = logits.sigmoid() if of_each else logits.softmax(1)
        return ClassPrediction(found[0].cpu().numpy(), self.header.classes)


def _open(checkpoint: str | Path | Checkpoint) -> tuple[nn.Module, Header, Path]:
    opened = open_checkpoint(checkpoint, classifiers=True)
    if opened.header.is_of_clip:
        raise ValueError(
            f"{opened.path} holds a CLIP, which has no classes of its own; name some: --classes road,car on the "
            "command line, classes=[...] in Python"
        )
    if not opened.header.is_of_classifier:
        raise ValueError(f"{opened.path} holds a segmentor, which says where things are; use densevit.Predictor")
    return build_classifier(opened), opened.header, opened.path


def classify(
    predictor: ClassPredictor,
    inputs: str | Path | Iterable[str | Path],
    *,
    recursive: bool = False,
    on_image: Callable[[int, int], None] | None = None,
) -> tuple[dict[Path, ClassPrediction], dict[Path, str]]:
    """Predictions of the files, folders and globs, and why others have none, both by the (first) file of an image.

    Raises FileNotFoundError for inputs that do not exist. `on_image(done, total)` is called after each.
    """
    found: dict[Path, ClassPrediction] = {}
    failed: dict[Path, str] = {}
    listed = predictor.reader.find(inputs, recursive=recursive, exclude=None)
    for done, each in enumerate(listed, start=1):
        try:
            found[each.path] = predictor(each.source)
        except (ValueError, OSError) as error:
            failed[each.path] = str(error)
        if on_image is not None:
            on_image(done, len(listed))
    return found, failed
