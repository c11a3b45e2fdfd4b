"""One training crop of a volume in memory: ours beside MONAI's chain at equal work, on one CPU core and on a GPU.

MONAI is given its quickest ways: tensors in memory, the voxels of each class listed beforehand, a crop with a margin
that holds a turned one (as nnU-Net does too), or its lazy resampling, which joins crop and affine map.
"""

import argparse
import math
import statistics
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

import densevit
from benchmarks.timing import machine, ratios, synchronize, take_turns, write_json
from densevit.data.augment import create_augment
from densevit.data.augment.augment_3d import Augment3D
from densevit.data.dataset import Sample
from densevit.data.foreground import foreground_voxels
from densevit.tables import format_table
from densevit.volumes.grid import Grid
from tools.peers import import_peer

SPACING = (2.0, 1.5, 1.5)
ZOOM, DEGREES = (0.7, 1.4), 30.0
PLAIN = dict(scale=(1.0, 1.0), rotate=0.0, intensity=0.0, foreground=1.0, flips=(0.5, 0.5, 0.5))
AFFINE = dict(PLAIN, scale=ZOOM, rotate=DEGREES)
# What is compared -> our keys; MONAI's side is `MonaiChains`.
STEPS = {
    "crop, flips": PLAIN,
    "and zoom, rotation": AFFINE,
    "and elastic": dict(AFFINE, elastic=(8.0, 32.0), elastic_prob=1.0),
    "nnU-Net's": dict(preset="nnunet", foreground=1.0),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py augment`."""
    parser.add_argument("--size", nargs=3, type=int, default=(160, 288, 288), metavar="N", help="of the volume")
    parser.add_argument("--crop-size", nargs=3, type=int, default=(96, 96, 96), metavar="N")
    parser.add_argument("--classes", type=int, default=14)
    parser.add_argument("--device", default="cpu", help="cuda adds rows in which all but the crop is made there")
    parser.add_argument("--network", metavar="BACKBONE+DECODER", help="also time one training step of it on the device")
    parser.add_argument("--crops", type=int, default=8, help="crops in one turn; their mean is one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Print milliseconds a crop, and how many times longer MONAI takes."""
    torch.set_num_threads(1)  # as in a loader's worker
    volume = _make_volume(arguments)
    rows = []
    for device in dict.fromkeys(("cpu", arguments.device)):
        for step, keys in _steps().items():
            work = {
                "densevit": _ours(
                    create_augment(dict(keys, crop_size=tuple(arguments.crop_size)), spatial_dims=3), volume, device
                )
            }
            if find_spec("monai"):
                work |= MonaiChains(volume, crop_size=arguments.crop_size, device=device).of(step)
            rows += _measure(work, arguments, step=step, device=device)
    if arguments.network:
        rows.append(_train_step(arguments))
    print(f"{machine()}\n")
    print(format_table(rows, style="markdown"))
    write_json(arguments.json, rows)
    return 0


def _steps() -> dict[str, dict]:
    """Without MONAI, those of our own."""
    return {step: keys for step, keys in STEPS.items() if find_spec("monai") or "preset" not in keys}


def _measure(work: dict, arguments: argparse.Namespace, *, step: str, device: str) -> list[dict]:
    def turn(call: Callable[[], tuple[Tensor, Tensor]]) -> Callable[[], None]:
        def crops() -> None:
            for _ in range(arguments.crops):
                image, label = call()
            if tuple(image.shape[1:]) != tuple(arguments.crop_size) or image.shape[1:] != label.shape[-3:]:
                raise ValueError(f"a crop of {tuple(image.shape)} and {tuple(label.shape)} came out")

        return crops

    seconds = take_turns({name: turn(call) for name, call in work.items()}, rounds=arguments.rounds, device=device)
    times = {"densevit": 1.0, **ratios(seconds, "densevit")}
    return [
        {
            "step": step,
            "device": device,
            "system": name,
            "ms / crop": 1000 * statistics.median(values) / arguments.crops,
            "time / ours": times[name],
        }
        for name, values in seconds.items()
    ]


def _make_volume(arguments: argparse.Namespace) -> Sample:
    """A case as a set keeps it: float32 (1, D, H, W), uint8 (D, H, W), and the places of its classes' voxels."""
    rng = np.random.default_rng(0)
    size = tuple(arguments.size)
    image = rng.standard_normal((1, *size), dtype=np.float32)
    label = np.zeros(size, np.uint8)
    for c in range(1, arguments.classes):
        low = [int(rng.integers(n - n // 5)) for n in size]
        label[tuple(slice(a, a + n // 5) for a, n in zip(low, size, strict=True))] = c
    grid = Grid.at_origin(size, SPACING)
    return Sample(image=image, label=label, grid=grid, foreground=foreground_voxels(label, arguments.classes))


def _ours(augment: Augment3D, volume: Sample, device: str) -> Callable[[], tuple[Tensor, Tensor]]:
    draws = iter(range(1 << 30))

    def call() -> tuple[Tensor, Tensor]:
        rng = np.random.Generator(np.random.Philox(key=[0, next(draws)]))
        return augment.finish(augment.draw(volume, rng), device=device)

    return call


class MonaiChains:
    """The same steps of MONAI's own transforms, by name."""

    def __init__(self, volume: Sample, *, crop_size: list[int], device: str):
        self.monai = import_peer("monai.transforms")
        self.crop_size, self.device = tuple(crop_size), device
        voxels = [torch.from_numpy(places[places >= 0]) for places in volume.foreground]
        self.sample = dict(
            image=torch.from_numpy(volume.image), label=torch.from_numpy(volume.label)[None], voxels=voxels
        )
        self.classes = len(voxels)

    def of(self, step: str) -> dict[str, Callable[[], tuple[Tensor, Tensor]]]:
        """The chains that do the work of a step."""
        if step == "crop, flips":
            return {"monai": self._chain([self._crop(self.crop_size), *self._flips()])}
        if step == "and zoom, rotation":
            whole = [self._crop(self.crop_size, lazy=True), *self._flips(lazy=True), self._affine(1.0, lazy=True)]
            return {
                "monai": self._chain([self._crop(self._margin()), self._affine(1.0), *self._flips()]),
                "monai, lazy": self._chain(whole, lazy=True),
            }
        if step == "and elastic":
            return {"monai": self._chain([self._crop(self._margin()), self._elastic(), *self._flips()])}
        share = 1 - 0.8 * 0.8
        steps = [self._crop(self._margin()), self._affine(share), *self._flips(), *self._intensities()]
        return {"monai": self._chain(steps)}

    def _chain(self, steps: list, *, lazy: bool = False) -> Callable[[], tuple[Tensor, Tensor]]:
        if self.device != "cpu":
            steps = [steps[0], self.monai.ToDeviced(("image", "label"), device=self.device), *steps[1:]]
        compose = self.monai.Compose(steps, lazy=lazy)

        def call() -> tuple[Tensor, Tensor]:
            done = compose(dict(self.sample))
            done = done[0] if isinstance(done, list) else done
            return done["image"], done["label"]

        return call

    def _margin(self) -> tuple[int, ...]:
        """A crop that holds every turned one: nothing that the volume has is missing in its corners."""
        turn = math.radians(DEGREES)
        grown = 1 / ZOOM[0] * (math.cos(turn) + 2 * math.sin(turn))
        return tuple(
            min(math.ceil(n * grown), s) for n, s in zip(self.crop_size, self.sample["label"].shape[1:], strict=True)
        )

    def _crop(self, size: tuple[int, ...], *, lazy: bool = False) -> object:
        ratios = [0] + [1] * (self.classes - 1)
        options = dict(spatial_size=size, ratios=ratios, num_classes=self.classes, indices_key="voxels", num_samples=1)
        return self.monai.RandCropByLabelClassesd(
            ("image", "label"), label_key="label", allow_smaller=True, warn=False, lazy=lazy, **options
        )

    def _flips(self, *, lazy: bool = False) -> list:
        return [self.monai.RandFlipd(("image", "label"), prob=0.5, spatial_axis=axis, lazy=lazy) for axis in range(3)]

    def _shared(self) -> dict:
        place = dict(rotate_range=(math.radians(DEGREES),) * 3, scale_range=[(ZOOM[0] - 1, ZOOM[1] - 1)] * 3)
        place |= dict(spatial_size=self.crop_size, padding_mode="zeros", mode=("bilinear", "nearest"))
        return dict(place, device=None if self.device == "cpu" else torch.device(self.device))

    def _affine(self, prob: float, *, lazy: bool = False) -> object:
        return self.monai.RandAffined(("image", "label"), prob=prob, lazy=lazy, **self._shared())

    def _elastic(self) -> object:
        return self.monai.Rand3DElasticd(
            ("image", "label"), sigma_range=(5, 7), magnitude_range=(50, 150), prob=1.0, **self._shared()
        )

    def _intensities(self) -> Iterator[object]:
        for entry in create_augment(dict(preset="nnunet", crop_size=(1, 1, 1)), spatial_dims=3).options.extra:
            keys = {key: value for key, value in entry.items() if key not in ("type", "per_channel")}
            yield getattr(self.monai, f"{entry['type']}d")("image", **keys)


def _train_step(arguments: argparse.Namespace) -> dict:
    """One forward and backward of one crop, in bf16 on a GPU: what augmentation has to keep up with."""
    backbone, decoder = arguments.network.split("+")
    options = dict(num_classes=arguments.classes, spatial_dims=3, in_channels=1)
    if backbone.startswith("vit"):
        options["backbone_options"] = dict(image_size=tuple(arguments.crop_size))
    model = densevit.create_segmentor(backbone, decoder, **options).to(arguments.device)
    image = torch.randn(2, 1, *arguments.crop_size, device=arguments.device)
    kind = arguments.device.split(":")[0]

    def step() -> None:
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            loss = model(image).float().square().mean()
        loss.backward()
        synchronize(arguments.device)

    seconds = take_turns({"step": step}, rounds=arguments.rounds, device=arguments.device)["step"]
    name = f"training step of {arguments.network}, batch 2"
    milliseconds = 1000 * statistics.median(seconds) / len(image)
    return {
        "step": name,
        "device": arguments.device,
        "system": "densevit",
        "ms / crop": milliseconds,
        "time / ours": None,
    }
