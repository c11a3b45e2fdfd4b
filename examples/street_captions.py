"""Rendered streets, cut into small pictures, with captions made of their labels: pairs for a tiny CLIP.

    python examples/street_captions.py data/street_captions
    densevit train configs/clip_convmixer_tiny_street_pairs.py

The folder gets pairs.csv (two captions a picture), classes.csv (the class that fills half of a picture or more), the
pictures of both, and the whole scenes in the layout of Cityscapes.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from densevit.data.layouts.cityscapes import CLASSES
from densevit.synthetic.streets import make_street_scenes

SIDE = 64  # pixels of a picture
SEEN = 0.08  # what counts as seen: a part of the picture
MOST = 0.5


def main(argv: Sequence[str] | None = None) -> dict[str, int]:
    """Make the set; how many pictures each split has."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--scenes", type=int, nargs=2, default=(320, 60), metavar="N", help="to train and to validate")
    parser.add_argument("--crops", type=int, default=8, help="pictures of a scene")
    args = parser.parse_args(argv)
    scenes = make_street_scenes(args.root / "scenes", num_train=args.scenes[0], num_val=args.scenes[1])
    rng, pairs, classes, counts = np.random.default_rng(0), [], [], {}
    for split in ("train", "val"):
        (args.root / split).mkdir(exist_ok=True)
        for path in sorted((scenes / "leftImg8bit" / split).rglob("*.png")):
            label = str(path).replace("leftImg8bit", "gtFine", 1).replace("_leftImg8bit", "_gtFine_labelTrainIds")
            picture, ids = np.asarray(Image.open(path)), np.asarray(Image.open(label))
            for i in range(args.crops):
                top, left = (int(rng.integers(length - SIDE + 1)) for length in ids.shape)
                part = (slice(top, top + SIDE), slice(left, left + SIDE))
                shares = np.bincount(ids[part].ravel(), minlength=256)[: len(CLASSES)] / SIDE**2
                order = [CLASSES[c] for c in np.argsort(-shares) if shares[c] >= SEEN]
                if not order:
                    continue
                name = f"{split}/{path.stem}_{i}.png"
                Image.fromarray(picture[part]).save(args.root / name)
                counts[split] = counts.get(split, 0) + 1
                pairs += [
                    (name, text, split) for text in (f"a photo of a {order[0]}.", f"a street with {_and(order)}.")
                ]
                if shares.max() >= MOST:
                    classes.append((name, order[0], split))
    _write(args.root / "pairs.csv", ("image", "text", "split"), pairs)
    _write(args.root / "classes.csv", ("image", "label", "split"), classes)
    return counts


def _and(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _write(path: Path, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([titles, *rows])


if __name__ == "__main__":
    main()
