"""Score label files against others: `python tools/evaluate.py PRED TRUTH --help`, the same as `densevit evaluate`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]  # the checkout, installed or not
    from densevit.cli import main

    sys.exit(main(["evaluate", *sys.argv[1:]]))
