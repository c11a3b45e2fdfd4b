"""Measure every model and write docs/models.md: `python tools/model_table.py --macs --cost --parity`."""

import sys
from importlib import import_module
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]  # the repository, for `tools.peers`

if __name__ == "__main__":
    raise SystemExit(import_module("benchmarks.model_table").main())
