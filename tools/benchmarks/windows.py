"""Sliding windows over one image: what stitching costs on top of the network's own forwards."""

import argparse
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from types import SimpleNamespace

import torch
from torch import Tensor, nn

import densevit
from benchmarks.timing import machine, table, take_turns, write_json
from densevit.blocks import nd
from densevit.inference import sliding_window
from densevit.inference.blend import gaussian
from tests.peers import import_mmseg, import_peer


@dataclass(frozen=True)
class Case:
    """An image, its windows, and the networks that see them: "free" is a 1x1 convolution."""

    size: tuple[int, ...]
    roi: int
    stride: int
    blend: str
    channels: int
    classes: int
    models: tuple[str, ...]


VOLUME = Case((192, 192, 192), 96, 48, "gaussian", 1, 14, ("free", "vit_tiny+unetr"))
FRAME = Case((1024, 2048), 1024, 768, "constant", 3, 19, ("free", "mit_b0+all_mlp"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py windows`."""
    parser.add_argument("--size", nargs="+", type=int, metavar="N", help="default: a volume, then a frame")
    parser.add_argument("--roi-size", type=int, metavar="N")
    parser.add_argument("--stride", type=int, metavar="N")
    parser.add_argument("--models", nargs="+", help="free (a 1x1 convolution) or BACKBONE+DECODER")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1], help="windows in one forward")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5, help="counted turns of each; medians are quoted")
    parser.add_argument("--json", metavar="FILE")


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> int:
    """Print one table row for each image, network, window batch and system."""
    rows = []
    for case in _cases(arguments):
        torch.manual_seed(0)
        image = torch.randn(case.channels, *case.size, device=arguments.device)
        for name, batch_size in product(case.models, arguments.batch_sizes):
            model = _make_model(name, case).eval().to(arguments.device)
            rows += _compare(model, name, image, batch_size, case, arguments)
    print(f"{machine()}, median of {arguments.rounds} interleaved rounds\n")
    print(table(list(rows[0]), [list(row.values()) for row in rows]))
    write_json(arguments.json, rows)
    return 0


def _cases(arguments: argparse.Namespace) -> list[Case]:
    chosen = {"roi": arguments.roi_size, "stride": arguments.stride, "models": arguments.models}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    size = arguments.size and tuple(arguments.size)
    cases = [case for case in (VOLUME, FRAME) if size is None or len(case.size) == len(size)]
    return [Case(**(vars(case) | chosen | ({"size": size} if size else {}))) for case in cases]


def _make_model(name: str, case: Case) -> nn.Module:
    if name == "free":
        return nd.CONV[len(case.size)](case.channels, case.classes, 1)
    backbone, decoder = name.split("+")
    shape = dict(num_classes=case.classes, spatial_dims=len(case.size), in_channels=case.channels)
    return densevit.create_segmentor(backbone, decoder, **shape)


def _compare(
    model: nn.Module, name: str, image: Tensor, batch_size: int, case: Case, arguments: argparse.Namespace
) -> list[dict]:
    """Rows of all systems with one network and one window batch."""
    seen: list[Tensor] = []
    systems = _systems(case, batch_size)
    systems["densevit"](lambda windows: seen.append(windows.clone()) or model(windows), image)  # the plain work

    def forwards() -> None:
        for windows in seen:
            model(windows)

    expected = systems["densevit"](model, image)
    errors = {system: _difference(call(model, image), expected) for system, call in systems.items()}
    work: dict[str, Callable[[], object]] = {"forwards": forwards}
    work |= {system: partial(call, model, image) for system, call in systems.items()}
    seconds = take_turns(work, rounds=arguments.rounds, device=arguments.device)
    rows = []
    for system in systems:
        share = [a / b for a, b in zip(seconds[system], seconds["forwards"], strict=True)]
        rows.append(
            {
                "image": "x".join(map(str, case.size)),
                "network": name,
                "windows": sum(len(windows) for windows in seen),
                "batch": batch_size,
                "system": system,
                "total / forwards": statistics.median(share),
                "total s": statistics.median(seconds[system]),
                "forwards s": statistics.median(seconds["forwards"]),
                "max difference": errors[system],
            }
        )
        sys.stderr.write(f"{name} batch {batch_size} {system}: {rows[-1]['total / forwards']:.3f}\n")
    return rows


def _difference(result: Tensor, expected: Tensor) -> float | None:
    """Largest difference of two logits; None for labels."""
    return (result - expected).abs().max().item() if result.shape == expected.shape else None


def _systems(case: Case, batch_size: int) -> dict[str, Callable[[nn.Module, Tensor], Tensor]]:
    """What is compared: (network, image (C, *S)) -> logits (K, *S); "labels" are streamed and (*S)."""
    roi_size, stride = (case.roi,) * len(case.size), (case.stride,) * len(case.size)
    ours = dict(roi_size=roi_size, stride=stride, batch_size=batch_size, blend=case.blend)
    ours |= dict(grid="mmseg" if case.blend == "constant" else "even")
    systems = {
        "densevit": lambda model, image: sliding_window(model, image, **ours),
        "densevit labels": lambda model, image: sliding_window(model, image, **ours, reduce="labels"),
    }
    if find_spec("monai"):
        monai = import_peer("monai.inferers")
        overlap = 1 - case.stride / case.roi
        systems["monai"] = lambda model, image: monai.sliding_window_inference(
            image[None], roi_size, batch_size, model, overlap=overlap, mode=case.blend
        )[0]
    if case.blend == "gaussian":
        systems["nnU-Net's way"] = partial(_as_nnunet, roi_size=roi_size, stride=stride, classes=case.classes)
    if len(case.size) == 2 and find_spec("mmseg"):
        slide = import_mmseg().models.segmentors.EncoderDecoder.slide_inference
        config = SimpleNamespace(stride=stride, crop_size=roi_size)
        systems["mmseg"] = lambda model, image: slide(
            SimpleNamespace(test_cfg=config, out_channels=case.classes, encode_decode=lambda x, _: model(x)),
            image[None],
            [dict(ori_shape=image.shape[1:], img_shape=image.shape[1:], pad_shape=image.shape[1:])],
        )[0]
    return systems


def _as_nnunet(
    model: nn.Module, image: Tensor, *, roi_size: tuple[int, ...], stride: tuple[int, ...], classes: int
) -> Tensor:
    """Its order of work: one window a forward, sums and counts of the whole image in half precision, a division."""
    size = image.shape[1:]
    axes = [gaussian(roi) for roi in roi_size]
    weight = axes[0][:, None, None] * axes[1][:, None] * axes[2]
    weight = (weight / weight.max() * 10).clamp_min(1e-3).to(image.device, torch.half)
    total = torch.zeros(classes, *size, dtype=torch.half, device=image.device)
    count = torch.zeros(size, dtype=torch.half, device=image.device)
    starts = [range(0, s - r + 1, t) for s, r, t in zip(size, roi_size, stride, strict=True)]
    for begin in product(*starts):
        place = tuple(slice(b, b + r) for b, r in zip(begin, roi_size, strict=True))
        logits = model(image[(slice(None), *place)][None])[0]
        total[(slice(None), *place)] += logits * weight
        count[place] += weight
    return total.div_(count)
