"""Look into a checkpoint: `python tools/analyze.py CHECKPOINT IMAGES --help`, the same as `densevit analyze`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]  # the checkout, installed or not
    from densevit.cli import main

    sys.exit(main(["analyze", *sys.argv[1:]]))
