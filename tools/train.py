"""Train the model of a config: `python tools/train.py CONFIG [--work-dir DIR] [--resume] [--cfg-options K=V ...]`.

The same as `densevit train`; `--help` lists the flags.
"""

import sys

from densevit.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
