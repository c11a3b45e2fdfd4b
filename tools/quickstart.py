"""Make the environment, render a data set, train a small model on it, test it, draw the results.

--task streets: SegFormer-B0 on street scenes, in the Cityscapes layout. --task ct: UNETR on CT scans, as a Decathlon
folder; one scan is then predicted to a mask on its own grid.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import _venv

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {
    "ct": ROOT / "configs" / "unetr_synthetic_ct.py",
    "streets": ROOT / "configs" / "segformer_b0_synthetic.py",
}
EXTRAS = {"ct": "train,report,medical", "streets": "train,report"}
OUT = {"ct": "work_dirs/quickstart_ct", "streets": "work_dirs/quickstart"}
LEFT = {
    "ct": "  predictions.png  curves.png  table.txt  scores.json  best/weights.safetensors\n"
    "  predicted/: a scan's mask on its own grid, what was measured of its structures, a picture\n"
    "  commands.txt: the same on sets and scans of your own",
    "streets": "  predictions.png  curves.png  table.txt  scores.json  best/weights.safetensors\n"
    "  commands.txt: the same on real Cityscapes, and this model on pictures of your own",
}


def parse() -> argparse.Namespace:
    """The options, all of which can be left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=sorted(CONFIGS), default="streets")
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="your own set. streets: a Cityscapes layout, or folders images/ and labels/. ct: a Decathlon or nnU-Net "
        "folder, or folders of scans and labels",
    )
    parser.add_argument("--out", metavar="DIR", help="folder of the results, default work_dirs/quickstart[_ct]")
    parser.add_argument("--iters", metavar="N", type=int, help="length of the training")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default the first GPU if there is one")
    _venv.add_argument(parser)
    return parser.parse_args()


def main() -> int:
    """Set up, run, and say where the results lie."""
    options = parse()
    data = options.data and Path(options.data).resolve()
    out = Path(options.out).resolve() if options.out else ROOT / OUT[options.task]
    _venv.enter(EXTRAS[options.task], no_venv=options.no_venv)
    os.chdir(ROOT)  # the config and the commands name data/ and work_dirs/ from here
    from densevit.environment import keep_freed_memory, let_threads_sleep

    let_threads_sleep()  # before torch is imported
    from densevit.quickstart.run import quickstart
    from densevit.quoting import message

    if options.task == "ct":
        from densevit.quickstart.ct import CtDemo as Demo
    else:
        from densevit.quickstart.streets import StreetDemo as Demo

    start = time.monotonic()
    try:
        settings = dict(out=_short(out), data=data, iters=options.iters, device=options.device)
        with keep_freed_memory():
            result = quickstart(CONFIGS[options.task], Demo(), **settings)
    except (ValueError, OSError) as error:
        print(f"quickstart: {message(error)}", file=sys.stderr)
        return 2
    print((out / "table.txt").read_text(encoding="utf-8"))
    print(f"{time.monotonic() - start:.0f} s. Look at these in {_short(out)}:")
    print(LEFT[options.task])
    return 0 if result.run.stopped is None else 1


def _short(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
