"""Say what is wrong with a data set: `python tools/doctor.py DATA`, the same as `densevit doctor`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]  # the checkout, installed or not
    from densevit.cli import main

    sys.exit(main(["doctor", *sys.argv[1:]]))
