"""Videos of a data set, predicted and scored frame by frame: label maps, and how steady they are."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from densevit.data import Sample
from densevit.data.clip_set import ClipDataset
from densevit.data.stream import EvalSet
from densevit.inference import InferenceOptions
from densevit.metrics import TemporalScores
from densevit.predictor.labels import label_image
from densevit.predictor.video_outputs import FrameSink, Steadiness
from densevit.processes import gather


def predict_frames(
    model: nn.Module,
    samples: EvalSet,
    index: int,
    *,
    take: Callable[..., None],
    options: InferenceOptions,
    device: torch.device,
) -> None:
    """Predict a video by windows in time; `take(frame, labels (1, H, W), case=index, is_shown=...)` gets each frame as
    it becomes final, of which the labelled one in the middle is to be shown.
    """
    dataset, frames = samples.dataset, samples.frames(index)
    video, middle = dataset.seen_video(index), dataset.middle_frame(index)

    def take_labels(number: int, labels: np.ndarray) -> None:
        take(next(frames), torch.from_numpy(labels[None].copy()), case=index, is_shown=number == middle)

    out = FrameSink(video.shape[1:], num_classes=dataset.num_classes, take=take_labels)
    label_image(model, video, options=options, size=video.shape[1:], clips=dataset.clips, device=device, out=out)


@dataclass
class ClipSteadiness:
    """Called with the frames of the videos of a set, one after another, and the classes (1, H, W) predicted of each."""

    dataset: ClipDataset
    counted: dict[str, Steadiness] = field(default_factory=dict)

    def __call__(self, sample: Sample, prediction: Tensor) -> None:
        path = str(sample.meta["image"])
        if sample.meta["frame"] == 0:
            self.counted[path] = Steadiness(self.dataset.num_classes)
        shown = self.dataset.shown(sample, prediction)
        self.counted[path](shown.image, shown.prediction)

    def measured(self) -> dict[str, TemporalScores]:
        """Of all processes, which all call this; by the paths of the videos."""
        found = {path: steady.counts.compute() for path, steady in self.counted.items()}
        return {path: scores for part in gather(found) for path, scores in sorted(part.items())}
