"""Videos with label maps of all or of some frames, as a data set of clips.

Legend: video or clip (C, T, H, W), label (T, H, W), `IGNORE` where a frame has none.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from densevit.data.case import Case
from densevit.data.dataset import Augment, Sample, Shown
from densevit.data.label_check import Facts, count_classes
from densevit.data.picture_set import PictureDataset
from densevit.inference import ClipOptions
from densevit.labels import IGNORE, Color
from densevit.pictures.coding import LabelCoding
from densevit.pictures.reading import read_label
from densevit.pictures.video import Frames, SeenVideo, Video, normalize_frames, open_video
from densevit.volumes.grid import Grid


@dataclass(frozen=True, order=True)
class ClipCase(Case):
    """A video: `images` is its file or folder, `frames` what that is read from, `labels` pairs of frame name and file.

    `label` is the first of these files.
    """

    labels: tuple[tuple[str, str], ...] = ()
    frames: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.frames, *(path for _, path in self.labels))


class ClipDataset(PictureDataset):
    """Clips of `clips.frames` frames to train on, around a labelled one; whole videos to be scored on.

    Each frame is normalised as a picture is. A video that is shorter than a clip is followed by its last frame, again
    and again.
    """

    spatial_dims = 3

    def __init__(
        self,
        cases: Sequence[ClipCase],
        *,
        clips: ClipOptions,
        classes: Sequence[str],
        coding: LabelCoding | Mapping[str, LabelCoding],
        palette: Sequence[Color] | None = None,
        exif: str | None = None,
        in_channels: int = 3,
        normalization: Mapping[str, Any] | None = None,
    ):
        looks = dict(palette=palette, exif=exif, in_channels=in_channels, normalization=normalization)
        super().__init__([], classes=classes, coding=coding, **looks)
        self.cases, self.clips = list(cases), clips
        self._videos: dict[str, Video] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without what was opened, for processes that begin anew."""
        return {**vars(self), "_videos": {}}

    def __getitem__(self, index: int) -> Sample:
        """A whole video in its file's values, with its class numbers."""
        video = self._video(self.cases[index])
        return self._sample(self.cases[index], video, video.image.again(), np.arange(video.image.shape[1]))

    def train_sample(self, index: int, *, augment: Augment, rng: np.random.Generator) -> Sample:
        """A clip that holds a labelled frame; the number of its first frame, and the augmentation, come from `rng`."""
        case, (frames, step) = self.cases[index], (self.clips.frames, self.clips.step)
        video = self._video(case)
        last, labelled = video.image.shape[1] - 1, [video.names.index(name) for name, _ in case.labels]
        middle, latest = labelled[rng.integers(len(labelled))], max(0, last - (frames - 1) * step)
        starts = [middle - i * step for i in range(frames) if 0 <= middle - i * step <= latest] or [min(middle, latest)]
        numbers = starts[rng.integers(len(starts))] + step * np.arange(frames)
        return self._normalized(augment(self._sample(case, video, video.image.again(), numbers.clip(max=last)), rng))

    def evaluation_sample(self, index: int) -> Sample:
        return self._normalized(self[index])

    def seen_video(self, index: int) -> SeenVideo:
        """What a network sees of a video, of which no more is read than is asked for."""
        return SeenVideo(self._video(self.cases[index]).image.again(), self.normalize)

    def evaluation_frames(self, index: int) -> Iterator[Sample]:
        """The parts (C, 1, H, W) of `evaluation_sample`, a frame after another, read as they are asked for."""
        case = self.cases[index]
        video = self._video(case)
        frames = video.image.again()
        for number in range(video.image.shape[1]):
            sample = self._normalized(self._sample(case, video, frames, np.array([number])))
            yield replace(sample, meta=dict(sample.meta, frame=number))

    def middle_frame(self, index: int) -> int:
        """The number of the labelled frame in the middle."""
        case = self.cases[index]
        names = self._video(case).names
        labelled = sorted(names.index(name) for name, _ in case.labels) or range(len(names))
        return labelled[len(labelled) // 2]

    def shown(self, sample: Sample, prediction: Tensor) -> Shown:
        """The labelled frame in the middle."""
        labelled = np.arange(len(prediction)) if sample.label is None else np.flatnonzero(_is_labelled(sample.label))
        number = int(labelled[len(labelled) // 2]) if len(labelled) else 0
        label = None if sample.label is None else sample.label[number]
        return super().shown(replace(sample, image=sample.image[:, number], label=label), prediction[number])

    def inspect(self, index: int) -> tuple[Facts, Sample]:
        """Pixels by class of all labels of a video, and the video whole."""
        return self._look(index), self[index]

    def _look(self, index: int) -> Facts:
        case, counts = self.cases[index], Counter()
        video = self._video(case)
        first = video.image.again()[:, :1]
        for name, path in case.labels:
            counts.update(count_classes(self._label(path, frame=f"{name} of {case.name}", size=first.shape[2:])))
        return dict(counts=dict(counts), constant=bool((first == first[..., :1, :1]).all()))

    def _video(self, case: ClipCase) -> Video:
        """What was opened before, or now; ValueError for labels of frames that it lacks."""
        if case.name not in self._videos:
            read = dict(channels=self.in_channels, normalization=self.normalization, exif=self.exif)
            video = open_video(case.name, **read)
            missing = [path for name, path in case.labels if name not in video.names]
            if missing:
                names = f"{video.names[0]} to {video.names[-1]}"
                raise ValueError(
                    f"{missing[0]} is the label of no frame of {case.name}, whose frames are called {names}"
                )
            self._videos[case.name] = video
        return self._videos[case.name]

    def _sample(self, case: ClipCase, video: Video, frames: Frames, numbers: np.ndarray) -> Sample:
        """Of rising numbers of frames, which are read from `frames` of the video."""
        image = frames[:, numbers[0] : numbers[-1] + 1][:, numbers - numbers[0]]
        label, paths = None, dict(case.labels)
        if case.label is not None:
            label = np.full(image.shape[1:], IGNORE, np.uint8)
            for place, name in enumerate(video.names[number] for number in numbers):
                if name in paths:
                    label[place] = self._label(paths[name], frame=f"{name} of {case.name}", size=image.shape[2:])
        return Sample(
            image=image, label=label, grid=Grid(image.shape[1:]), meta=dict(image=case.name, label=case.label)
        )

    def _label(self, path: str, *, frame: str, size: tuple[int, ...]) -> np.ndarray:
        coding = self._coding_of(path)
        label = coding.decode(read_label(path, color_map=coding.color_map), path=path)
        if label.shape != size:
            sizes = f"{label.shape[1]} x {label.shape[0]} and its frame {frame} is {size[1]} x {size[0]}"
            raise ValueError(f"{path} is {sizes}; a label needs the size of its frame")
        return label

    def _normalized(self, sample: Sample) -> Sample:
        return replace(sample, image=normalize_frames(sample.image, self.normalize))


def _is_labelled(label: Tensor) -> np.ndarray:
    """Which frames (T) have a label."""
    return (label != IGNORE).flatten(1).any(1).numpy()
