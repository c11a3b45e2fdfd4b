"""One CT from file to mask on a CPU, where the time goes: densevit, and MONAI's chain of transforms with `Invertd`.

The same file, the same network with the same weights, the same windows; every turn is a process of its own.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peaks import in_own_process
from benchmarks.timing import machine, peak_megabytes, reset_peak, resident_megabytes, write_json
from densevit import create_segmentor
from densevit.environment import keep_freed_memory
from densevit.predictor import Predictor
from densevit.predictor.labels import Stopwatch, TimedNetwork
from densevit.tables import format_table
from densevit.volumes.volume import open_volume
from densevit.weights import save_weights
from tools.peers import import_peer

PARTS = ("load", "resample", "network", "restore", "write")
LOW, HIGH = -175.0, 250.0  # HU
Turn = Callable[[Path, Path, Path], tuple[Stopwatch, int]]  # (checkpoint, scan, mask) -> seconds, number of windows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py scan`."""
    parser.add_argument("--scan", metavar="FILE", help="NIfTI; otherwise one is made")
    parser.add_argument("--size", nargs=3, type=int, default=(512, 512, 160), metavar="N", help="X Y Z of the made one")
    parser.add_argument("--spacing", nargs=3, type=float, default=(0.8, 0.8, 2.5), metavar="MM", help="of the made one")
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="of a run on CT, whose masks can be compared; otherwise weights are random"
    )
    parser.add_argument(
        "--working-spacing", nargs=3, type=float, default=(1.5, 1.5, 2.0), metavar="MM", help="X Y Z, of the network"
    )
    parser.add_argument("--roi-size", type=int, default=96, metavar="N")
    parser.add_argument("--classes", type=int, default=14, metavar="N")
    parser.add_argument("--network", default="mit_b0+all_mlp", metavar="BACKBONE+DECODER")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each; medians are quoted")
    parser.add_argument("--turn", nargs=3, metavar="FILE", help="used by the benchmark itself: one turn")
    parser.add_argument("--json", metavar="FILE")


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> int:
    """Print one row for each system."""
    if arguments.turn:
        print(json.dumps(_measure(SYSTEMS[arguments.systems[0]], *map(Path, arguments.turn))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(arguments.scan or make_scan(Path(folder) / "scan.nii.gz", arguments.size, arguments.spacing))
        checkpoint = Path(arguments.checkpoint or make_checkpoint(Path(folder) / "weights.safetensors", arguments))
        masks = {name: Path(folder) / name / "mask.nii.gz" for name in arguments.systems}
        turns: dict[str, list[dict]] = {name: [] for name in arguments.systems}
        for _ in range(arguments.rounds):
            for name in arguments.systems:
                files = [str(path) for path in (checkpoint, scan, masks[name])]
                turns[name].append(in_own_process("scan", "--systems", name, "--turn", *files))
                sys.stderr.write(f"{name}: {turns[name][-1]}\n")
        rows = [_row(name, turns, masks if arguments.checkpoint else None) for name in arguments.systems]
        grid = open_volume(scan).grid
    network = arguments.checkpoint or f"{arguments.network}, {arguments.classes} classes"
    print(f"{machine()}, {network}, {grid.size} voxels of {grid.spacing} mm\n")
    print(format_table(rows, style="markdown"))
    write_json(arguments.json, dict(rows=rows, turns=turns))
    return 0


def _row(name: str, turns: Mapping[str, Sequence[dict]], masks: Mapping[str, Path] | None) -> dict:
    """Medians of one system; ratios to ours are of everything, and of what stands beside the network.

    "same" is the share of voxels that are labelled as ours, of a trained network: a random one tells windows apart.
    """

    def middle(key: str) -> float:
        return statistics.median(turn[key] for turn in turns[name])

    ours = turns.get("densevit")
    ratios = {
        f"{key} / ours": ours and statistics.median(a[key] / b[key] for a, b in zip(turns[name], ours, strict=True))
        for key in ("total", "beside network")
    }
    seconds = {f"{key} s": middle(key) for key in (*PARTS, "beside network", "total")}
    equal = ours and masks and float((_values(masks[name]) == _values(masks["densevit"])).mean())
    return {"system": name, **ratios, **seconds, "windows": middle("windows"), "added MB": middle("MB"), "same": equal}


def _values(path: Path) -> np.ndarray:
    return open_volume(path).image[0]


def _measure(turn: Turn, checkpoint: Path, scan: Path, mask: Path) -> dict[str, float]:
    """Seconds of each part, after a small scan for what libraries do once; memory beside libraries and network."""
    small = make_scan(mask.with_name("small.nii.gz"), (40, 40, 40), (1.6, 1.6, 2.1))
    turn(checkpoint, small, mask.with_name("small_mask.nii.gz"))
    reset_peak()
    before, start = resident_megabytes(), time.perf_counter()
    stopwatch, windows = turn(checkpoint, scan, mask)
    total = time.perf_counter() - start - stopwatch.seconds.pop("build")
    seconds = stopwatch.seconds
    beside = total - seconds["network"]
    return {**seconds, "total": total, "beside network": beside, "windows": windows, "MB": peak_megabytes() - before}


@keep_freed_memory()  # as the command does
def _ours(checkpoint: Path, scan: Path, mask: Path) -> tuple[Stopwatch, int]:
    watch, counted = Stopwatch(), []
    with watch.measure("build"):
        predictor = Predictor(checkpoint)
        predictor.model.register_forward_hook(lambda *_: counted.append(1))
    with watch.measure("load"):
        volume = open_volume(scan)
    with watch.measure("resample"):
        image = predictor.reader.prepare(volume)
    label = predictor.label_prepared(image, volume.grid.size, stopwatch=watch)
    watch.seconds["restore"] += watch.seconds.pop("clean")
    with watch.measure("write"):
        volume.write_label(label, mask)
    return watch, len(counted)


def _monai(checkpoint: Path, scan: Path, mask: Path) -> tuple[Stopwatch, int]:
    """Its transforms one by one, as a bundle's inference has them: logits are inverted, then become labels.

    Axes point to superior, anterior, right, as the network was trained.
    """
    T, inferers = import_peer("monai.transforms"), import_peer("monai.inferers")
    watch = Stopwatch()
    with watch.measure("build"):
        predictor = Predictor(checkpoint)
        header, roi_size = predictor.header, predictor.inference.roi_size
        network = TimedNetwork(predictor.model, device=torch.device("cpu"))
        load = [T.LoadImaged("image"), T.EnsureChannelFirstd("image"), T.Orientationd("image", axcodes="SAR")]
        normalize = T.ScaleIntensityRanged("image", **_range(header.normalization), clip=True)
        resample = [T.Spacingd("image", pixdim=header.spacing, mode="bilinear"), normalize]
        before = T.Compose([*load, *resample])
        invert = T.Invertd("pred", transform=before, orig_keys="image", nearest_interp=False, to_tensor=True)
        save = T.SaveImaged(
            "pred", output_dir=mask.parent, output_postfix="", separate_folder=False, output_dtype=np.uint8,
            resample=False, print_log=False, output_name_formatter=lambda *_: dict(subject=mask.name[:-7], idx=None),
        )  # fmt: skip
    data: dict = {"image": str(scan)}
    for part, transforms in (("load", load), ("resample", resample)):
        with watch.measure(part):
            for transform in transforms:
                data = transform(data)
    start = time.perf_counter()
    options = dict(roi_size=roi_size, sw_batch_size=1, overlap=0.5, mode="gaussian")
    data["pred"] = inferers.sliding_window_inference(data["image"][None], predictor=network, **options)[0]
    data = T.AsDiscreted("pred", argmax=True)(invert(data))
    if header.values.tolist() != list(range(header.num_classes)):
        data = T.MapLabelValued("pred", list(range(header.num_classes)), header.values.tolist())(data)
    watch.seconds["network"] += network.seconds()
    watch.seconds["restore"] += time.perf_counter() - start - network.seconds()
    with watch.measure("write"):
        save(data)
    return watch, len(network.forwards)


def _range(normalization: Mapping[str, Any]) -> dict[str, float]:
    """The same normalisation as a linear map of [a_min, a_max] to [b_min, b_max]."""
    low, high = normalization.get("low"), normalization.get("high")
    if low is None or normalization["type"] not in ("window", "ct"):
        raise ValueError(f"a CT is normalised by type 'window' or 'ct', and this checkpoint has {normalization}")
    mean, std = normalization.get("mean", low), normalization.get("std", high - low)
    return dict(a_min=low, a_max=high, b_min=(low - mean) / std, b_max=(high - mean) / std)


SYSTEMS: dict[str, Turn] = {"densevit": _ours, "monai": _monai}


def make_scan(path: Path, size: Sequence[int], spacing: Sequence[float]) -> Path:
    """Smooth tissue with noise, HU in int16, axes pointing to left, posterior and superior as CT series are stored."""
    import nibabel

    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 1, *(max(n // 24, 2) for n in size), generator=generator)
    tissue = torch.nn.functional.interpolate(coarse, tuple(size), mode="trilinear")[0, 0]
    values = (tissue * 300 + 15 * torch.randn(tuple(size), generator=generator)).round().clamp(-1024, 3071)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(
        nibabel.Nifti1Image(values.numpy().astype(np.int16), np.diag([-spacing[0], -spacing[1], spacing[2], 1])), path
    )
    return path


def make_checkpoint(path: Path, arguments: argparse.Namespace) -> Path:
    """The network with random weights, and how scans are prepared for it."""
    backbone, decoder = arguments.network.split("+")
    model = dict(backbone=backbone, decoder=decoder, num_classes=arguments.classes, spatial_dims=3, in_channels=1)
    torch.manual_seed(0)
    segmentor = create_segmentor(**model)
    torch.nn.init.normal_(segmentor.head.weight)
    header = dict(
        model=model,
        normalization=dict(type="window", low=LOW, high=HIGH),
        spacing=list(arguments.working_spacing)[::-1],
        inference=dict(
            mode="slide_gaussian", roi_size=[arguments.roi_size] * 3, stride=[max(1, arguments.roi_size // 2)] * 3
        ),
    )
    save_weights(segmentor, path, config=header)
    return path
