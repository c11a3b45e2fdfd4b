"""Forward of every family: ours and its reference with the same weights."""

import argparse
import statistics
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.peaks import forward_peak, in_own_process
from benchmarks.references import REFERENCES, installed
from benchmarks.timing import machine, ratios, take_turns, write_json
from densevit.tables import format_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py families`."""
    parser.add_argument("--names", nargs="+", default=list(REFERENCES), choices=list(REFERENCES), metavar="NAME")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5, help="counted turns of each; medians are quoted")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--peak", choices=("ours", "reference"), help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Print one table row for each name."""
    if arguments.peak:
        pair = REFERENCES[arguments.names[0]].make()
        model = (pair.ours if arguments.peak == "ours" else pair.reference).to(arguments.device)
        print(forward_peak(model, pair.image.to(arguments.device), warm_up=pair.image.to(arguments.device)))
        return 0
    names = installed(arguments.names)
    if not names:
        raise SystemExit("none of the references is installed; python tools/run_tests.py makes an environment with all")
    rows = []
    for name in names:
        rows.append(_compare(name, arguments))
        sys.stderr.write(f"{name}: {rows[-1]['ratio']:.2f}x\n")
    print(f"{machine()}, batch 1, median of {arguments.rounds} interleaved rounds\n")
    header = list(rows[0])
    print(format_table([{key: row[key] for key in header} for row in rows], style="markdown"))
    write_json(arguments.json, rows)
    return 0


@torch.inference_mode()
def _compare(name: str, arguments: argparse.Namespace) -> dict:
    pair = REFERENCES[name].make()
    x = pair.image.to(arguments.device)
    calls = {"ours": pair.ours.to(arguments.device), "reference": pair.reference.to(arguments.device)}
    error, scale = _difference(calls["ours"](x), calls["reference"](x))
    work = {key: lambda call=call: call(x) for key, call in calls.items()}
    seconds = take_turns(work, rounds=arguments.rounds, device=arguments.device)
    return {
        "model": name,
        "input": "x".join(map(str, x.shape[2:])),
        "reference": REFERENCES[name].title,
        "ratio": ratios(seconds, "ours")["reference"],
        "ours ms": 1000 * statistics.median(seconds["ours"]),
        "reference ms": 1000 * statistics.median(seconds["reference"]),
        "max error": error,
        "largest value": scale,
        "ours peak MB": _peak(name, "ours", arguments.device),
        "reference peak MB": _peak(name, "reference", arguments.device),
    }


def _difference(ours: Sequence[Tensor] | Tensor, theirs: Sequence[Tensor] | Tensor) -> tuple[float, float]:
    """Largest absolute difference over all outputs, and the largest absolute value of the reference's."""
    ours, theirs = ([y] if isinstance(y, Tensor) else list(y) for y in (ours, theirs))
    pairs = list(zip(ours, theirs, strict=True))
    if any(a.shape != b.shape for a, b in pairs):
        raise SystemExit(f"outputs differ in shape: {[a.shape for a in ours]} and {[b.shape for b in theirs]}")
    return max((a - b).abs().max().item() for a, b in pairs), max(b.abs().max().item() for _, b in pairs)


def _peak(name: str, who: str, device: str) -> float:
    return in_own_process("families", "--peak", who, "--names", name, "--device", device)
