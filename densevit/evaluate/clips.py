"""How steady the label maps are that a model predicts of the videos of a data set."""

from dataclasses import dataclass, field

from torch import Tensor

from densevit.data import Sample
from densevit.data.clip_set import ClipDataset
from densevit.metrics import TemporalScores
from densevit.predictor.video_outputs import Steadiness
from densevit.processes import gather


@dataclass
class ClipSteadiness:
    """Called with each video of a set, whole, and the classes (T, H, W) predicted of it."""

    dataset: ClipDataset
    found: dict[str, TemporalScores] = field(default_factory=dict)

    def __call__(self, sample: Sample, prediction: Tensor) -> None:
        steady = Steadiness(self.dataset.num_classes)
        for shown in self.dataset.shown_frames(sample, prediction):
            steady(shown.image, shown.prediction)
        self.found[str(sample.meta["image"])] = steady.counts.compute()

    def measured(self) -> dict[str, TemporalScores]:
        """Of all processes, which all call this; by the paths of the videos."""
        return {path: scores for part in gather(self.found) for path, scores in sorted(part.items())}
