"""Score a frozen backbone on classes: by nearest neighbours, and by a linear layer on its features.

CONFIG is one with task='classify', whose images are told by their features, or of segmentation, whose patches are: the
classes of its train_data are known, those of its val_data are asked. Images are seen without augmentation.
"""

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `probe`."""
    parser.add_argument("config", help="a config with task='classify', or of segmentation")
    parser.add_argument(
        "weights", nargs="?", help="weights of the backbone, as load_weights reads them; else the config's"
    )
    parser.add_argument("--k", type=int, default=20, help="how many neighbours vote; default 20")
    parser.add_argument(
        "--size",
        type=int,
        nargs="+",
        metavar="N",
        help="of segmentation: resize images to this, a number for each axis",
    )
    parser.add_argument("--json", metavar="FILE", help="write the scores to this file")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="override the config")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default a GPU where there is one")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Collect features, score them in both ways, print."""
    from functools import partial

    from densevit.files import check_writable, write_text
    from densevit.processes import pick_device
    from densevit.progress import Bars
    from densevit.quoting import printable
    from densevit.tables import format_table
    from densevit.train.config import load_config, parse_overrides
    from densevit.train.frozen import backbone_of, probe
    from densevit.weights import load_weights
    from densevit.weights.files import find_weights

    config = load_config(args.config, parse_overrides(args.cfg_options))
    if config.val_data is None:
        raise ValueError(f"{args.config} must have val_data, for it asks of its classes")
    if args.k < 1:
        raise ValueError(f"--k takes how many neighbours vote, got {args.k}")
    if args.size and (config.task == "classify" or len(args.size) != config.model.spatial_dims or min(args.size) < 1):
        raise ValueError(f"--size takes a number for each axis of images with label maps, got {args.size}")
    if args.json:
        check_writable(Path(args.json).parent)
    device, backbone = pick_device(args.device), backbone_of(config, trained=args.weights is not None)
    if args.weights is not None:
        sys.stdout.write(f"{printable(load_weights(backbone, find_weights(args.weights)), keep=chr(10))}\n")
    with Bars(enabled=not args.quiet) as shown:
        options = dict(k=args.k, size=args.size, on_image=lambda section: partial(shown.show, section))
        scores = probe(config, backbone.to(device), device=device, **options)
    sys.stdout.write(format_table([{"features": name, **means} for name, means in scores.items()]) + "\n")
    if args.json:
        write_text(Path(args.json), json.dumps(scores, indent=1) + "\n")
    return 0
