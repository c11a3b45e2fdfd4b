"""Sliding windows over one image: what stitching costs on top of the network's own forwards."""

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace

import torch
from torch import Tensor, nn

import densevit
from benchmarks.timing import machine, table, take_turns, write_json
from densevit.inference import sliding_window
from tests.peers import import_mmseg, import_peer

CLASSES = 19


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py windows`."""
    parser.add_argument("--size", nargs=2, type=int, default=(1024, 2048), metavar="N", help="height and width")
    parser.add_argument("--roi-size", type=int, default=1024, metavar="N")
    parser.add_argument("--stride", type=int, default=768, metavar="N")
    parser.add_argument(
        "--models", nargs="+", default=["free", "mit_b0"], help="free (a 1x1 convolution) or a backbone"
    )
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1], help="windows in one forward")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5, help="counted turns of each; medians are quoted")
    parser.add_argument("--json", metavar="FILE")


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> int:
    """Print one table row for each network, window batch and system."""
    torch.manual_seed(0)
    image = torch.randn(3, *arguments.size, device=arguments.device)
    rows = []
    for name in arguments.models:
        model = _make_model(name).eval().to(arguments.device)
        for batch_size in arguments.batch_sizes:
            rows += _compare(model, name, image, batch_size, arguments)
    print(f"{machine()}, image {tuple(arguments.size)}, median of {arguments.rounds} interleaved rounds\n")
    print(table(list(rows[0]), [list(row.values()) for row in rows]))
    write_json(arguments.json, rows)
    return 0


def _make_model(name: str) -> nn.Module:
    if name == "free":
        return nn.Conv2d(3, CLASSES, 1)
    return densevit.create_segmentor(name, "all_mlp", num_classes=CLASSES)


def _compare(model: nn.Module, name: str, image: Tensor, batch_size: int, arguments: argparse.Namespace) -> list[dict]:
    """Rows of all systems with one network and one window batch."""
    seen: list[Tensor] = []
    systems = _systems(arguments.roi_size, arguments.stride, batch_size)
    systems["densevit"](lambda windows: seen.append(windows.clone()) or model(windows), image)  # the plain work
    work: dict[str, Callable[[], object]] = {"forwards": lambda: [model(windows) for windows in seen]}
    expected = systems["densevit"](model, image)
    errors = {system: (call(model, image) - expected).abs().max().item() for system, call in systems.items()}
    work |= {system: partial(call, model, image) for system, call in systems.items()}
    seconds = take_turns(work, rounds=arguments.rounds, device=arguments.device)
    rows = []
    for system in systems:
        share = [a / b for a, b in zip(seconds[system], seconds["forwards"], strict=True)]
        rows.append(
            {
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


def _systems(roi: int, stride: int, batch_size: int) -> dict[str, Callable[[nn.Module, Tensor], Tensor]]:
    """What is compared: (network, image (3, H, W)) -> logits (classes, H, W)."""
    roi_size = (roi, roi)
    ours = dict(roi_size=roi_size, stride=(stride, stride), batch_size=batch_size, blend="constant", grid="mmseg")
    systems = {"densevit": lambda model, image: sliding_window(model, image, **ours)}
    if find_spec("monai"):
        monai = import_peer("monai.inferers")
        systems["monai"] = lambda model, image: monai.sliding_window_inference(
            image[None], roi_size, batch_size, model, overlap=1 - stride / roi
        )[0]
    if find_spec("mmseg"):
        slide = import_mmseg().models.segmentors.EncoderDecoder.slide_inference
        config = SimpleNamespace(stride=(stride, stride), crop_size=roi_size)
        systems["mmseg"] = lambda model, image: slide(
            SimpleNamespace(test_cfg=config, out_channels=CLASSES, encode_decode=lambda x, _: model(x)),
            image[None],
            [dict(ori_shape=image.shape[1:], img_shape=image.shape[1:], pad_shape=image.shape[1:])],
        )[0]
    return systems
