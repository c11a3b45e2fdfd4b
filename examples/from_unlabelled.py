"""From pictures without labels to a segmentation model: four commands of densevit, one after the other.

`python examples/from_unlabelled.py --out work_dirs/from_unlabelled` renders street scenes, and prints each command
before it runs. A few hundred pictures and iterations are for looking at, and prove nothing of the method.
"""

import argparse
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from densevit.cli.main import main as densevit
from densevit.runs.run import open_runs
from densevit.synthetic.streets import make_street_scenes

CONFIGS = Path(__file__).parents[1] / "configs"
logger = logging.getLogger("example")


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """The mIoU of the model that starts from what was learned without labels, and of one that starts from chance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="work_dirs/from_unlabelled", metavar="DIR")
    parser.add_argument("--scenes", type=int, default=80)
    parser.add_argument("--iters", type=int, default=200)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    out, iters = Path(args.out), args.iters
    scenes = make_street_scenes(out / "scenes", num_train=args.scenes, num_val=max(2, args.scenes // 10))
    data = [f"{section}.dataset.root={scenes}" for section in ("train_data", "val_data")]
    often = [f"train_cfg.{key}={iters}" for key in ("max_iters", "val_interval", "checkpoint_interval")]

    # 1. Learn from the pictures alone.
    dino = [*data, *often, *(f"{section}.dataset.type=cityscapes" for section in ("train_data", "val_data"))]
    run("train", CONFIGS / "dino_mit_b0_camvid.py", "--work-dir", out / "dino", "--cfg-options", *dino)
    # 2. What do its features know of places? (neighbours, and a linear layer)
    segment = CONFIGS / "segformer_b0_synthetic.py"
    run("probe", segment, out / "dino", "--size", 128, 256, "--cfg-options", *data)
    # 3. A segmentor that starts from them.
    begun = f"model.backbone_options.weights={out / 'dino'}"
    run("train", segment, "--work-dir", out / "segmentor", "--cfg-options", *data, *often, begun)
    # 4. Label maps of pictures.
    pictures = scenes / "leftImg8bit" / "val"
    run("predict", out / "segmentor", pictures, "--recursive", "--out", out / "predicted")

    run("train", segment, "--work-dir", out / "from_chance", "--cfg-options", *data, *often)
    runs = {trained.folder.name: trained for trained in open_runs([out / "segmentor", out / "from_chance"])}
    return {name: trained.scores[-1].value for name, trained in runs.items()}


def run(*words: object) -> None:
    """One command; SystemExit where it does not end well."""
    command = [str(word) for word in words]
    logger.info("\n$ densevit %s", shlex.join(command))
    code = densevit(command)
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    for name, score in main().items():
        logger.info("%s: %.1f mIoU", name, score)
