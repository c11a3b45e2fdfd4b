"""A model as a function from image to label map: pictures, scans, or scans slice by slice.

Legend: image (C, *S) normalised, logits (K, *S), label (*size) on the picture's or scan's own grid.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import densevit
from densevit.checkpoint import Checkpoint, Header, build_model, open_checkpoint
from densevit.inference.network import check_amp
from densevit.labels import label_type
from densevit.predictor.inputs import Reader
from densevit.predictor.labels import Stopwatch, image_logits, label_image
from densevit.predictor.outputs import Origin, model_digest
from densevit.predictor.pictures import LargePicture, PictureReader
from densevit.predictor.scans import ScanReader
from densevit.predictor.structures import Cleaning
from densevit.predictor.videos import SeenVideo, VideoReader
from densevit.processes import pick_device
from densevit.sides import read_sides
from densevit.texts import parse_bytes
from densevit.volumes.seen_scan import SeenScan
from densevit.volumes.volume import REFUSING, ReadOptions, Volume

logger = logging.getLogger("densevit")
Image = str | Path | Sequence[str | Path] | np.ndarray | Tensor | Volume


@dataclass(frozen=True)
class Prediction:
    """`label` (*size) holds class numbers, or where the header has `label_values` those."""

    label: np.ndarray
    see: Callable[[], Tensor] = field(repr=False)

    @cached_property
    def logits(self) -> Tensor:
        """(K, *S) of the image as the network sees it, on the predictor's device; made when first asked for."""
        return self.see()


class Predictor:
    """A picture or a scan -> its `Prediction`, at its own size and on its own grid.

    `model` is a weights.safetensors, the folder that holds it, that of a run, an opened `Checkpoint`, or a module. A
    `header` says what a module takes and how it was trained; that of a `Segmentor` may be left out. Pictures are files,
    lists of one file a channel, arrays (H, W, C) or tensors (C, H, W); scans are files, lists of one file a channel,
    folders of a DICOM series, `Volume`s, or arrays (C, D, H, W) at the spacing of training. For a header of clips an
    image is a video: a file, a folder of frames, an array (T, H, W, C) or a tensor (C, T, H, W).

    `device` is by default the CPU, or where a module is; `amp` "bf16" or "fp16"; `max_memory` ("8GB", or bytes) bounds
    what windows take beside model and image; `read` says how scans are read, `clean` what of their label maps is made
    tidy. What else is given overrides the header's `InferenceOptions`: mode, roi_size, stride, batch_size, flips, ...
    Raises FileNotFoundError, and ValueError for a file that is no checkpoint and for options that do not fit.
    """

    def __init__(
        self,
        model: str | Path | Checkpoint | nn.Module,
        header: Header | None = None,
        *,
        device: str | torch.device | None = None,
        amp: str | None = None,
        max_memory: int | str | None = None,
        compile: bool = False,
        read: ReadOptions = REFUSING,
        clean: Cleaning | None = None,
        **inference: Any,
    ):
        check_amp(amp)
        self.amp = amp
        opened = model if isinstance(model, nn.Module) else open_checkpoint(model)
        if header is None:
            header = Header.of_model(opened) if isinstance(opened, nn.Module) else opened.header
        self.header = header
        asked = header.inference.override(**inference).on_axes(header.spatial_dims)
        if asked.flips and read_sides(header.classes, asked.sides).nameless:
            logger.warning("%s", read_sides(header.classes).remark())
        self.inference = asked.for_classes(header.classes, spatial_dims=header.spatial_dims, slices=header.slices)
        self.max_memory = None if max_memory is None else parse_bytes(max_memory)
        self.clean = clean or Cleaning()
        self.clean.check(header.classes, header.values)
        self.read = read
        self.reader = open_reader(header, read)
        if device is None:
            first = next(opened.parameters(), None) if isinstance(opened, nn.Module) else None
            device = "cpu" if first is None else first.device
        self.device = pick_device(device)
        built = opened.eval() if isinstance(opened, nn.Module) else build_model(opened)
        built = built.to(self.device)
        self.path = None if isinstance(opened, nn.Module) else opened.path
        self._built = built
        self.model: nn.Module = torch.compile(built) if compile else built
        needed = getattr(built, "divisor", 1) if self.inference.divisor is None else self.inference.divisor
        self._options = replace(self.inference, divisor=needed)  # which a module of one's own may leave out

    @property
    def classes(self) -> tuple[str, ...]:
        return self.header.classes

    @property
    def origin(self) -> Origin:
        """What decides its results beside the input: checkpoint, digest of the model as it is now, and options."""
        inference, read = asdict(self._options), asdict(self.read)
        del inference["batch_size"], read["max_bytes"]  # which decide how fast, and whether there is a result
        options = dict(densevit=densevit.__version__, inference=inference, amp=self.amp, clean=asdict(self.clean))
        options |= dict(read=read) if self.header.is_of_volumes else {}
        options = json.loads(json.dumps(options))  # as they are read again, with lists for tuples
        path = None if self.path is None else str(self.path)
        return dict(checkpoint=path, model=model_digest(self._built, self.header), options=options)

    def __call__(self, image: Image) -> Prediction:
        opened = self.reader.open(image)
        prepared = self.reader.prepare(opened)
        label = self.label_prepared(prepared, opened.image.shape[1:])
        return Prediction(label, lambda: self.logits(torch.from_numpy(prepared[:])))

    def label(self, image: Image) -> np.ndarray:
        """The label map alone."""
        return self(image).label

    def label_prepared(
        self,
        image: np.ndarray | LargePicture | SeenVideo | SeenScan,
        size: Sequence[int],
        *,
        out: Any = None,
        stopwatch: Stopwatch | None = None,
    ) -> np.ndarray:
        """A prepared image -> its label map (*size), made tidy where that is asked for; `stopwatch` learns what took
        how long. `out`, an array of `size` or what stores like one, takes class numbers, and is returned as it is; of a
        `SeenScan` it takes those of its part.
        """
        stopwatch, header, native, seen = stopwatch or Stopwatch(), self.header, None, None
        if isinstance(image, SeenScan):
            seen, image, size = image, image.image, image.native.size
            native = None if seen.native.is_same(seen.shape[1:]) else seen.native
        label = label_image(
            self.model,
            torch.from_numpy(image) if isinstance(image, np.ndarray) else image,
            options=self._options,
            size=size,
            native=native,
            out=np.empty(tuple(size), label_type(header.num_classes)) if out is None else out,
            slices=header.slices,
            clips=header.clips,
            device=self.device,
            amp=self.amp,
            max_memory=self.max_memory,
            stopwatch=stopwatch,
        )
        if out is not None:
            return label
        label = label if seen is None else seen.restore(label)
        with stopwatch.measure("clean"):
            label = label if header.label_values is None else header.values[label]
            self.clean(label, classes=header.classes, values=header.values)
        return label

    def label_frames(self, video: SeenVideo, out: Any, *, stopwatch: Stopwatch | None = None) -> None:
        """Write the class numbers of a video to `out`, an array (T, H, W) or what stores like one, in order.

        A model of pictures sees frame by frame, a model of clips what its header says. ValueError for a predictor that
        makes label maps tidy, which takes whole ones.
        """
        if self.clean != Cleaning():
            raise ValueError("largest_component and fill_holes are not for videos; leave them out")
        if self.header.clips is not None:
            self.label_prepared(video, video.shape[1:], out=out, stopwatch=stopwatch)
            return
        for number in range(video.shape[1]):
            frame = np.ascontiguousarray(video[:, number : number + 1][:, 0])
            label = np.empty(frame.shape[1:], label_type(self.header.num_classes))
            out[number : number + 1] = self.label_prepared(frame, label.shape, out=label, stopwatch=stopwatch)[None]

    def logits(self, image: Tensor) -> Tensor:
        """(C, *S) as the network sees it -> (K, *S), on the predictor's device."""
        seen = dict(slices=self.header.slices, clips=self.header.clips)
        return image_logits(self.model, image, options=self._options, **seen, device=self.device, amp=self.amp)


def open_reader(header: Header, read: ReadOptions = REFUSING) -> Reader:
    """The reader of the images that a header is about: of scans, of videos, or of pictures."""
    if header.clips is not None:
        return VideoReader(header)
    return ScanReader(header, read) if header.is_of_volumes else PictureReader(header)
