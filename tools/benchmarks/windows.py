"""Sliding windows over one image: what stitching costs on top of the network's own forwards."""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import torch
from torch import Tensor, nn

import densevit
from benchmarks.timing import machine, write_json
from benchmarks.workers import Worker, serve, take_turns
from densevit.blocks import nd
from densevit.environment import keep_freed_memory
from densevit.inference import sliding_window
from densevit.inference.stream import cut_window
from densevit.inference.windows import Windows, gaussian
from densevit.tables import format_table
from tools.peers import import_mmseg, import_peer


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


# The forwards by themselves: as they come, and with freed memory kept for the next one, as in our sliding window.
PLAIN = ("forwards", "forwards, memory kept")
OURS = ("densevit", "densevit labels")  # in a process whose freed memory is kept, as the command keeps it
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
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Print one table row for each image, network, window batch and system."""
    if arguments.worker:
        job = json.loads(arguments.worker)
        with torch.inference_mode():
            serve(_work(**job), job["device"])
        return 0
    rows = []
    for case in _cases(arguments):
        for name, batch_size in product(case.models, arguments.batch_sizes):
            rows += _compare(name, batch_size, case, arguments)
    print(f"{machine()}, median of {arguments.rounds} interleaved rounds\n")
    print(format_table(rows, style="markdown"))
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


def _compare(name: str, batch_size: int, case: Case, arguments: argparse.Namespace) -> list[dict]:
    """Rows of all systems with one network and one window batch, beside the plain forwards of the same windows."""
    systems = list(_systems(case, batch_size))
    job = dict(case=vars(case), name=name, batch_size=batch_size, device=arguments.device)
    workers = {system: Worker("windows", job | {"system": system}) for system in (*PLAIN, *systems)}
    with TemporaryDirectory() as folder:
        expected = workers["densevit"].result(Path(folder) / "expected.pt")
        errors = {s: _difference(workers[s].result(Path(folder) / "result.pt"), expected) for s in systems}
    seconds = take_turns(workers, rounds=arguments.rounds)
    for worker in workers.values():
        worker.close()
    layout = Windows(roi_size=case.roi, stride=case.stride, grid=_grid(case)).layout(case.size)
    rows = []
    for system in systems:
        shares = [_median_ratio(seconds[system], seconds[plain]) for plain in PLAIN]
        rows.append(
            {
                "image": "x".join(map(str, case.size)),
                "network": name,
                "windows": layout.num_windows,
                "batch": batch_size,
                "system": system,
                **{f"total / {plain}": share for plain, share in zip(PLAIN, shares, strict=True)},
                "total s": statistics.median(seconds[system]),
                **{f"{plain} s": statistics.median(seconds[plain]) for plain in PLAIN},
                "max difference": errors[system],
            }
        )
        sys.stderr.write(f"{name} batch {batch_size} {system}: {shares}\n")
    return rows


def _median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def _work(case: dict, name: str, batch_size: int, device: str, system: str) -> Callable[[], object]:
    """One contender's work, in its own process."""
    case = Case(**case | {"size": tuple(case["size"])})
    torch.manual_seed(0)
    image = torch.randn(case.channels, *case.size, device=device)
    model = _make_model(name, case).eval().to(device)
    systems = _systems(case, batch_size)
    if system not in PLAIN:
        work = partial(systems[system], model, image)
        return keep_freed_memory()(work) if system in OURS else work
    layout = Windows(roi_size=case.roi, stride=case.stride, grid=_grid(case)).layout(case.size, stream=False)
    windows = [cut_window(image, layout, index, 0, 0.0) for index in layout.windows(0)]
    batches = [torch.stack(windows[i : i + batch_size]) for i in range(0, len(windows), batch_size)]

    def forwards() -> None:
        for batch in batches:
            model(batch)

    return forwards if system == PLAIN[0] else keep_freed_memory()(forwards)


def _grid(case: Case) -> str:
    return "mmseg" if case.blend == "constant" else "even"


def _difference(result: Tensor, expected: Tensor) -> float | None:
    """Largest difference of two logits; None for labels."""
    return (result - expected).abs().max().item() if result.shape == expected.shape else None


def _systems(case: Case, batch_size: int) -> dict[str, Callable[[nn.Module, Tensor], Tensor]]:
    """What is compared: (network, image (C, *S)) -> logits (K, *S); "labels" are streamed and (*S).

    A peer is imported by its first turn, in its own process.
    """
    roi_size, stride = (case.roi,) * len(case.size), (case.stride,) * len(case.size)
    ours = dict(roi_size=roi_size, stride=stride, batch_size=batch_size, blend=case.blend)
    ours |= dict(grid=_grid(case))
    systems = {
        "densevit": lambda model, image: sliding_window(model, image, **ours),
        "densevit labels": lambda model, image: sliding_window(model, image, **ours, reduce="labels"),
    }
    if find_spec("monai"):
        overlap = 1 - case.stride / case.roi
        options = dict(roi_size=roi_size, sw_batch_size=batch_size, overlap=overlap, mode=case.blend)
        systems["monai"] = partial(_by_monai, **options)
    if case.blend == "gaussian":
        systems["nnU-Net's way"] = partial(_as_nnunet, roi_size=roi_size, stride=stride, classes=case.classes)
    if len(case.size) == 2 and find_spec("mmseg"):
        systems["mmseg"] = partial(_by_mmseg, roi_size=roi_size, stride=stride, classes=case.classes)
    return systems


def _by_monai(model: nn.Module, image: Tensor, **options: object) -> Tensor:
    return import_peer("monai.inferers").sliding_window_inference(image[None], predictor=model, **options)[0]


def _by_mmseg(
    model: nn.Module, image: Tensor, *, roi_size: tuple[int, ...], stride: tuple[int, ...], classes: int
) -> Tensor:
    segmentor = SimpleNamespace(
        test_cfg=SimpleNamespace(stride=stride, crop_size=roi_size),
        out_channels=classes,
        encode_decode=lambda x, _: model(x),
    )
    sizes = dict(ori_shape=image.shape[1:], img_shape=image.shape[1:], pad_shape=image.shape[1:])
    return import_mmseg().models.segmentors.EncoderDecoder.slide_inference(segmentor, image[None], [sizes])[0]


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
