"""Draw samples as a training sees them, augmented: `python tools/browse_dataset.py CONFIG --output-dir DIR`.

The same as `densevit doctor CONFIG --augmented DIR`.
"""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]  # the checkout, installed or not
    from densevit.cli import main

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", metavar="CONFIG")
    parser.add_argument("--output-dir", default="work_dirs/browse", metavar="DIR", help="default work_dirs/browse")
    parser.add_argument("--count", default="16", metavar="N", help="how many samples (default 16)")
    args = parser.parse_args()
    sys.exit(main(["doctor", args.config, "--augmented", args.output_dir, "--count", args.count]))
