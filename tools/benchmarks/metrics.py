"""All metrics of one pair of label maps: ours in one call, and MONAI's metrics of the same names one after the other.

MONAI is given both maps one-hot, as it wants them; making them is counted in its total and shown apart. Metrics that it
lacks (masd, hd95_pooled, rmsd, boundary F and IoU) are in our time and in no one's else.

With --frames N: the scores of N frames of 19 classes from their label maps, beside mmsegmentation's IoUMetric.

With --cases N: the peak of memory of what `densevit evaluate` does over N and over 4 N cases, which should be the same
but for the records.
"""

import argparse
import statistics
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
import torch

from benchmarks.timing import machine, peak_megabytes, ratios, reset_peak, take_turns, write_json
from densevit.evaluate.files import measure_files
from densevit.evaluate.pairs import Pair, Pairs
from densevit.evaluate.scores import score
from densevit.evaluate.structures import Structures
from densevit.metrics import POLICIES, ConfusionMatrix, MeasureOptions, Record, measure, summarize
from densevit.tables import format_table
from tools.peers import import_mmseg, import_peer

SPACING = (1.5, 1.5, 2.0)
METRICS = ("hd", "hd95_max", "hd95_pooled", "hd95_surfel", "assd", "masd", "rmsd", "nsd_voxel", "nsd_surfel")
BOUNDARIES = ("boundary_f", "boundary_iou")
TOLERANCE = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py metrics`."""
    parser.add_argument("--size", nargs="+", type=int, default=(256, 256, 200), metavar="N", help="two or three axes")
    parser.add_argument("--structures", type=int, default=13)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--frames", type=int, metavar="N", help="frames of 1024 x 2048, beside mmsegmentation")
    parser.add_argument("--cases", type=int, metavar="N", help="files of --size, and four times as many")
    parser.add_argument("--json", metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Print seconds, how many times longer the peer takes, and the largest difference of the numbers."""
    torch.set_num_threads(arguments.threads)
    if arguments.frames:
        return _run_frames(arguments)
    if arguments.cases:
        return _run_cases(arguments)
    prediction, truth = _draw(tuple(arguments.size), arguments.structures)
    work = {"densevit, all": _ours(prediction, truth, arguments.structures, (*METRICS, *BOUNDARIES))}
    work["densevit, dice hd95 assd nsd"] = _ours(
        prediction, truth, arguments.structures, ("hd95_max", "assd", "nsd_voxel")
    )
    work |= _monai(prediction, truth, arguments.structures) if find_spec("monai") else {}
    rows, seconds = [], take_turns(work, rounds=arguments.rounds, device="cpu")
    times = {"densevit, all": 1.0, **ratios(seconds, "densevit, all")}
    for name, values in seconds.items():
        reset_peak()
        work[name]()
        row = {"work": name, "s": statistics.median(values), "time / ours": times[name], "peak MB": peak_megabytes()}
        rows.append(row)
    theirs = [row for row in rows if row["work"].startswith("monai")]
    if theirs:
        total = sum(row["s"] for row in theirs)
        print(f"MONAI, all together: {total:.2f} s, {total / rows[0]['s']:.1f} times ours;")
        print(f"the numbers differ by {_difference(work):.1e} at most\n")
    print(f"{machine()}\n\n{format_table(rows, style='markdown')}")
    write_json(arguments.json, rows)
    return 0


def _run_frames(arguments: argparse.Namespace) -> int:
    """Turns over all frames; four different ones, again and again, as memory holds no 200."""
    work = _frames(arguments.frames)
    seconds = take_turns(work, rounds=arguments.rounds, device="cpu")
    times = {"densevit, by case and set": 1.0, **ratios(seconds, "densevit, by case and set")}
    rows = [
        {"work": n, "s": statistics.median(s), "time / ours": times[n], "mIoU": work[n]()} for n, s in seconds.items()
    ]
    print(f"{machine()}, {arguments.frames} frames\n\n{format_table(rows, style='markdown')}")
    write_json(arguments.json, rows)
    return 0


def _run_cases(arguments: argparse.Namespace) -> int:
    """Print the peaks, after a first round that brings all that is brought once."""
    prediction, truth = _draw(tuple(arguments.size), arguments.structures)
    structures = Structures({f"structure {label}": (label,) for label in range(1, arguments.structures + 1)})
    rows = []
    with TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("predicted.nii", "truth.nii")]
        for path, label in zip(files, (prediction, truth), strict=True):
            nibabel.save(nibabel.Nifti1Image(label.T, np.diag([*SPACING[: label.ndim], 1.0])), path)
        for cases in (arguments.cases, arguments.cases, 4 * arguments.cases):
            pairs = Pairs([Pair(f"case {i}", *files) for i in range(cases)])
            reset_peak()
            score(measure_files(pairs, structures))
            rows.append({"cases": cases, "peak MB": peak_megabytes()})
    rows, small, large = rows[1:], rows[1], rows[2]
    grown = large["peak MB"] - small["peak MB"]
    print(f"{machine()}\n\n{format_table(rows, style='markdown')}\n")
    print(f"the peak of four times as many cases is {large['peak MB'] / small['peak MB']:.2f} times as high,")
    print(
        f"{1000 * grown / (3 * arguments.cases):.0f} kB a case more; a pair of maps is {2 * truth.nbytes / 1000:.0f} kB"
    )
    write_json(arguments.json, rows)
    return 0


def _frames(count: int) -> dict[str, Callable[[], float]]:
    """Contender -> its mIoU in percent of `count` frames, counted anew."""
    pairs = [_blocks(seed) for seed in range(4)]
    tensors = [tuple(map(torch.from_numpy, pair)) for pair in pairs]
    classes = [str(i) for i in range(19)]
    policy, options = POLICIES["mmseg"], MeasureOptions(metrics=(), include_background=True)

    def by_case() -> float:
        frames = (measure(*pairs[i % 4], classes, None, options, case=str(i)) for i in range(count))
        records = [record for frame in frames for record in frame]
        return 100 * summarize(records, policy).row("iou", level="set").mean

    def of_set() -> float:
        matrix = ConfusionMatrix(19)
        for i in range(count):
            matrix.update(*tensors[i % 4])
        return 100 * matrix.compute().mIoU

    work = {"densevit, by case and set": by_case, "densevit, set alone": of_set}
    if find_spec("mmseg"):
        metric = import_mmseg().evaluation.IoUMetric

        def mmseg() -> float:
            counts = [metric.intersect_and_union(*tensors[i % 4], 19, 255) for i in range(count)]
            totals = [sum(parts) for parts in zip(*counts, strict=True)]
            return 100 * float(metric.total_area_to_metrics(*totals)["IoU"].mean())

        work["mmsegmentation, set alone"] = mmseg
    return work


def _blocks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame of blocks of 32 pixels, a tenth of which are predicted wrong, and a twentieth ignored: uint8 each."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 19, (32, 64), np.uint8)
    prediction = np.where(rng.random(truth.shape) < 0.1, rng.integers(0, 19, truth.shape, np.uint8), truth)
    truth[rng.random(truth.shape) < 0.05] = 255
    return tuple(np.kron(each, np.ones((32, 32), np.uint8)) for each in (prediction, truth))


def _draw(size: tuple[int, ...], structures: int) -> tuple[np.ndarray, np.ndarray]:
    """Ellipsoids, and the same a little aside and of another size: (*S) uint8 each."""
    rng = np.random.default_rng(0)
    prediction, truth = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    for label in range(1, structures + 1):
        radii = [n * rng.uniform(0.08, 0.14) for n in size]
        centre = [rng.uniform(0.15, 0.85) * n for n in size]
        _fill(truth, label, centre, radii)
        _fill(
            prediction,
            label,
            [c + rng.normal(0, 0.006) * n for c, n in zip(centre, size, strict=True)],
            [r * rng.uniform(0.95, 1.05) for r in radii],
        )
    return prediction, truth


def _fill(labels: np.ndarray, label: int, centre: list[float], radii: list[float]) -> None:
    box = tuple(slice(max(0, int(c - r)), int(c + r) + 2) for c, r in zip(centre, radii, strict=True))
    grid = np.ogrid[box]
    labels[box][sum(((x - c) / r) ** 2 for x, c, r in zip(grid, centre, radii, strict=True)) < 1] = label


def _ours(
    prediction: np.ndarray, truth: np.ndarray, structures: int, metrics: tuple[str, ...]
) -> Callable[[], list[Record]]:
    options = MeasureOptions(metrics=metrics, tolerances=(TOLERANCE,))
    classes = {f"structure {label}": label for label in range(1, structures + 1)}
    spacing = SPACING[-truth.ndim :]
    return lambda: measure(prediction, truth, classes, spacing, options)


def _monai(prediction: np.ndarray, truth: np.ndarray, structures: int) -> dict[str, Callable[[], torch.Tensor]]:
    metrics, networks = import_peer("monai.metrics"), import_peer("monai.networks.utils")

    def one_hot() -> list[torch.Tensor]:
        return [networks.one_hot(torch.from_numpy(m)[None, None], structures + 1) for m in (prediction, truth)]

    pair = one_hot()
    options = dict(include_background=False, spacing=SPACING[-truth.ndim :])
    limits = [TOLERANCE] * structures

    def quiet(call: Callable[[], object]) -> Callable[[], object]:
        def without_warnings() -> object:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return call()

        return without_warnings

    work = {
        "monai, one-hot": one_hot,
        "monai, dice": lambda: metrics.compute_dice(*pair, include_background=False),
        "monai, iou": lambda: metrics.compute_iou(*pair, include_background=False),
        "monai, hd": lambda: metrics.compute_hausdorff_distance(*pair, **options),
        "monai, hd95_max": lambda: metrics.compute_hausdorff_distance(*pair, percentile=95, **options),
        "monai, assd": lambda: metrics.compute_average_surface_distance(*pair, symmetric=True, **options),
        "monai, nsd_voxel": lambda: metrics.compute_surface_dice(*pair, limits, **options),
        "monai, nsd_surfel": lambda: metrics.compute_surface_dice(*pair, limits, use_subvoxels=True, **options),
    }
    return {name: quiet(call) for name, call in work.items()}


def _difference(work: dict[str, Callable]) -> float:
    """The largest between ours and MONAI's, over all metrics and structures."""
    ours = work["densevit, all"]()
    largest = 0.0
    for name in ("dice", "iou", "hd", "hd95_max", "assd", "nsd_voxel", "nsd_surfel"):
        column = f"{name}@{TOLERANCE:g}" if name.startswith("nsd") else name
        values = [record.values[column] for record in ours]
        largest = max(largest, float(np.abs(work[f"monai, {name}"]()[0].numpy() - values).max()))
    return largest
