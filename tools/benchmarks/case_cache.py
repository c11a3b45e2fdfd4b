"""Seconds to the first and to every later look at the cases of a set: from their files, and from the cache on disk."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.timing import machine, write_json
from densevit.data import create_dataset
from densevit.data.layouts.guess_volumes import guess_volume_dataset
from densevit.tables import format_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py case_cache`."""
    parser.add_argument("data", help="a folder of scans that `densevit fingerprint` knows")
    parser.add_argument("--spacing", nargs=3, type=float, metavar="MM", help="resample to it")
    parser.add_argument("--cases", type=int, default=20, help="how many of them")
    parser.add_argument("--json", metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Print seconds a case, and whether all ways gave the same arrays."""
    config = guess_volume_dataset(arguments.data) | dict(check="load")
    if arguments.spacing:
        config["spacing"] = tuple(arguments.spacing)
    with tempfile.TemporaryDirectory() as folder:
        kept = dict(config, cache=dict(folder=folder))
        rows = [_look(name, each, arguments.cases) for name, each in (("files", config), ("cache, first", kept))]
        rows.append(_look("cache, next run", kept, arguments.cases))
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    sums = {row.pop("sum") for row in rows}
    sys.stdout.write(f"{machine()}\n{format_table(rows, style='markdown')}\n")
    sys.stdout.write(f"{size / 1e6:.0f} MB on disk; ")
    sys.stdout.write(f"{'the same arrays' if len(sums) == 1 else 'DIFFERENT ARRAYS'} in all\n")
    write_json(arguments.json, rows)
    return 0 if len(sums) == 1 else 1


def _look(name: str, config: dict, count: int) -> dict:
    """Twice over the cases, as two epochs of one process; every voxel is read."""
    dataset = create_dataset(config)
    count = min(count, len(dataset))
    seconds, total = [], 0.0
    for _ in range(2):
        start = time.perf_counter()
        total = sum(
            float(np.sum(sample.image, dtype=np.float64)) + float(np.sum(sample.label, dtype=np.int64))
            for sample in map(dataset.__getitem__, range(count))
        )
        seconds.append((time.perf_counter() - start) / count)
    return {"way": name, "first s/case": seconds[0], "later s/case": seconds[1], "sum": total}
