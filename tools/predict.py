"""Predict files: `python tools/predict.py CHECKPOINT INPUTS -o OUT --help`, the same as `densevit predict`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]  # the checkout, installed or not
    from densevit.cli import main

    sys.exit(main(["predict", *sys.argv[1:]]))
