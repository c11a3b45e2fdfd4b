"""One scan from file to mask by a trained folder of nnU-Net: densevit after `densevit import`, and nnU-Net itself.

The same file, the same weights (random, of a network that the plans name), folds and mirror images; every turn is a
process of its own, so that its peak memory is that of one system.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch

from benchmarks.peaks import in_own_process
from benchmarks.scan import make_scan
from benchmarks.timing import machine, peak_megabytes, reset_peak, resident_megabytes, write_json
from densevit.environment import keep_freed_memory
from densevit.integrations.dna.plan import plan_stages
from densevit.integrations.nnunet import import_nnunet
from densevit.predictor import Predictor
from densevit.tables import format_table
from densevit.volumes.volume import open_volume
from tools.peers import import_peer
from tools.peers.nnunet import DATASET, architecture, configuration, plans, states, write_folder

LIMIT = 320  # channels of the coarsest stages, as nnU-Net has it
Turn = Callable[[Path, Path, Path], None]  # (folder of results, scan, mask)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py nnunet`."""
    parser.add_argument("--size", nargs=3, type=int, default=(512, 512, 400), metavar="N", help="X Y Z of the scan")
    parser.add_argument("--spacing", nargs=3, type=float, default=(0.8, 0.8, 0.8), metavar="MM", help="of the scan")
    parser.add_argument("--working-spacing", nargs=3, type=float, default=(1.5, 1.5, 1.5), metavar="MM", help="Z Y X")
    parser.add_argument("--patch-size", nargs=3, type=int, default=(128, 128, 128), metavar="N", help="Z Y X")
    parser.add_argument("--classes", type=int, default=24, metavar="N")
    parser.add_argument("--dim", type=int, default=32, metavar="N", help="width of the first stage; nnU-Net's is 32")
    parser.add_argument("--residual", action="store_true", help="a residual encoder in the place of the plain one")
    parser.add_argument("--folds", type=int, default=1, metavar="N")
    parser.add_argument("--mirror", action="store_true", help="eight mirror images of each window")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=1, help="turns of each; medians are quoted")
    parser.add_argument("--turn", nargs=3, metavar="FILE", help="used by the benchmark itself: one turn")
    parser.add_argument("--json", metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Print one row for each system."""
    if arguments.turn:
        print(json.dumps(_measure(SYSTEMS[arguments.systems[0]](arguments.device), *map(Path, arguments.turn))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        results = make_results(Path(folder) / "results", arguments)
        scan = make_scan(Path(folder) / "scan.nii.gz", arguments.size, arguments.spacing)
        masks = {name: Path(folder) / name / "mask.nii.gz" for name in arguments.systems}
        turns: dict[str, list[dict]] = {name: [] for name in arguments.systems}
        for _ in range(arguments.rounds):
            for name in arguments.systems:
                masks[name].parent.mkdir(exist_ok=True)
                files = [str(path) for path in (results, scan, masks[name])]
                shared = ("--systems", name, "--device", arguments.device)
                turns[name].append(in_own_process("nnunet", *shared, "--turn", *files))
                sys.stderr.write(f"{name}: {turns[name][-1]}\n")
        rows = [_row(name, turns, masks) for name in arguments.systems]
    said = f"{arguments.classes} classes, width {arguments.dim}, patch {arguments.patch_size}, {arguments.folds} folds"
    print(f"{machine()}, {said}, {arguments.size} voxels of {arguments.spacing} mm, mirrored: {arguments.mirror}\n")
    print(format_table(rows, style="markdown"))
    write_json(arguments.json, dict(rows=rows, turns=turns))
    return 0


def make_results(folder: Path, arguments: argparse.Namespace) -> Path:
    """A folder as nnUNetv2_train leaves it, of the network that nnU-Net plans for the patch, with random weights."""
    stages = plan_stages(arguments.patch_size, arguments.working_spacing)
    count, network = len(stages.strides), architecture(residual=arguments.residual)
    kwargs = network["arch_kwargs"] | dict(
        n_stages=count,
        features_per_stage=[min(arguments.dim * 2**stage, LIMIT) for stage in range(count)],
        kernel_sizes=[list(size) for size in stages.kernel_sizes],
        strides=[list(stride) for stride in stages.strides],
        n_conv_per_stage_decoder=[1 if arguments.residual else 2] * (count - 1),
    )
    depths = ([1, 3, 4] + [6] * count)[:count] if arguments.residual else [2] * count
    kwargs["n_blocks_per_stage" if arguments.residual else "n_conv_per_stage"] = depths
    content = configuration(
        patch_size=list(arguments.patch_size),
        spacing=list(arguments.working_spacing),
        architecture=network | dict(arch_kwargs=kwargs),
    )
    labels = {"background": 0} | {f"structure {number}": number for number in range(1, arguments.classes)}
    return write_folder(
        folder,
        plans({"3d_fullres": content}),
        dataset=DATASET | dict(labels=labels),
        folds=range(arguments.folds),
        mirrored=(0, 1, 2) if arguments.mirror else None,
        states=states(content, folds=arguments.folds, outputs=arguments.classes)[1],
    )


def _row(name: str, turns: Mapping[str, Sequence[dict]], masks: Mapping[str, Path]) -> dict:
    """Medians of one system, beside ours; "same" is the share of voxels that are labelled as ours."""

    def middle(key: str) -> float:
        return statistics.median(turn[key] for turn in turns[name])

    ours = turns.get("densevit")
    ratios = {
        f"{key} / ours": ours and statistics.median(a[key] / b[key] for a, b in zip(turns[name], ours, strict=True))
        for key in ("seconds", "MB")
    }
    same = ours and float((_values(masks[name]) == _values(masks["densevit"])).mean())
    return {"system": name, **ratios, "seconds": middle("seconds"), "added MB": middle("MB"), "same": same}


def _values(path: Path) -> np.ndarray:
    return open_volume(path).image[0]


def _measure(turn: Turn, results: Path, scan: Path, mask: Path) -> dict[str, float]:
    """Seconds, with opening the weights, and memory beside the libraries."""
    reset_peak()
    before, start = resident_megabytes(), time.perf_counter()
    turn(results, scan, mask)
    return {"seconds": time.perf_counter() - start, "MB": peak_megabytes() - before}


def _ours(device: str) -> Turn:
    @keep_freed_memory()  # as the command does
    def turn(results: Path, scan: Path, mask: Path) -> None:
        predictor = Predictor(import_nnunet(results, mask.parent / "ours"), device=device, amp=_amp(device))
        volume = open_volume(scan)
        volume.write_label(predictor.label(volume), mask)

    return turn


def _amp(device: str) -> str | None:
    """nnU-Net predicts in float16 on a GPU."""
    return "fp16" if device.startswith("cuda") else None


def _theirs(device: str) -> Turn:
    """As `nnUNetv2_predict` does, without its processes beside: reading, prediction, resampling, writing."""
    for name in ("raw", "preprocessed", "results"):
        os.environ.setdefault(f"nnUNet_{name}", tempfile.gettempdir())
    with redirect_stdout(sys.stderr):
        create = import_peer("nnunetv2.inference.predict_from_raw_data").nnUNetPredictor

    def turn(results: Path, scan: Path, mask: Path) -> None:
        with redirect_stdout(sys.stderr):
            predictor = create(device=torch.device(device), allow_tqdm=False)
            folds = tuple(int(path.name[5:]) for path in sorted(results.glob("fold_*")))
            predictor.initialize_from_trained_model_folder(str(results), folds)
            target = [str(mask).removesuffix(".nii.gz")]
            predictor.predict_from_files_sequential([[str(scan)]], target, overwrite=True)

    return turn


SYSTEMS: dict[str, Callable[[str], Turn]] = {"densevit": _ours, "nnunet": _theirs}
