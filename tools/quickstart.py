"""Make the environment, render street scenes, train SegFormer-B0 on them, test it, draw the results."""

import argparse
import os
import sys
import time
from pathlib import Path

import _venv

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {"streets": ROOT / "configs" / "segformer_b0_synthetic.py"}


def parse() -> argparse.Namespace:
    """The options, all of which can be left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=sorted(CONFIGS), default="streets")
    parser.add_argument(
        "--data", metavar="DIR", help="your own set: a Cityscapes layout, or folders images/ and labels/"
    )
    parser.add_argument("--out", metavar="DIR", default="work_dirs/quickstart", help="folder of the results")
    parser.add_argument("--iters", metavar="N", type=int, help="length of the training")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default the first GPU if there is one")
    _venv.add_argument(parser)
    return parser.parse_args()


def main() -> int:
    """Set up, run, and say where the results lie."""
    options = parse()
    data, out = (path and Path(path).resolve() for path in (options.data, options.out))
    _venv.enter("train,report", no_venv=options.no_venv)
    os.chdir(ROOT)  # the config and the commands name data/ and work_dirs/ from here
    from densevit.engine.quickstart import quickstart

    start = time.monotonic()
    try:
        result = quickstart(
            CONFIGS[options.task], out=_short(out), data=data, iters=options.iters, device=options.device
        )
    except (ValueError, OSError) as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 2
    print((out / "table.txt").read_text(encoding="utf-8"))
    print(f"{time.monotonic() - start:.0f} s. Look at these in {_short(out)}:")
    print("  predictions.png  curves.png  table.txt  scores.json  best/weights.safetensors")
    print("  commands.txt: the same on real Cityscapes, and this model on pictures of your own")
    return 0 if result.run.stopped is None else 1


def _short(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
