"""Show training runs on a page: `python tools/report.py RUN...`, the same as `densevit report`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]  # the checkout, installed or not
    from densevit.cli import main

    sys.exit(main(["report", *sys.argv[1:]]))
