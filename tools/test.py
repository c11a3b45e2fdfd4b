"""Score a checkpoint: `python tools/test.py CONFIG CHECKPOINT --help`, the same as `densevit test`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]  # the checkout, installed or not
    from densevit.cli import main

    sys.exit(main(["test", *sys.argv[1:]]))
