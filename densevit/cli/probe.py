"""Score a frozen backbone on classes of images: its nearest neighbours, and a linear layer on its features.

CONFIG is one with task='classify': the classes of its train_data are known, those of its val_data are asked. Images
are seen without augmentation.
"""

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `probe`."""
    parser.add_argument("config", help="a config with task='classify'")
    parser.add_argument(
        "weights", nargs="?", help="weights of the backbone, as load_weights reads them; else the config's"
    )
    parser.add_argument("--k", type=int, default=20, help="how many neighbours vote; default 20")
    parser.add_argument("--json", metavar="FILE", help="write the scores to this file")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="override the config")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default a GPU where there is one")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Collect features, score them in both ways, print."""
    from functools import partial

    from densevit.data.stream import EvalSet
    from densevit.files import check_writable, write_text
    from densevit.processes import pick_device
    from densevit.progress import Bars
    from densevit.quoting import printable
    from densevit.tables import format_table
    from densevit.train.config import load_config, parse_overrides
    from densevit.train.probe import frozen_features, linear_logits, neighbour_logits
    from densevit.train.tasks.class_scores import ClassScores
    from densevit.train.tasks.classify import open_class_dataset
    from densevit.weights import load_weights
    from densevit.weights.files import find_weights

    config = load_config(args.config, parse_overrides(args.cfg_options))
    if config.task != "classify" or config.val_data is None:
        raise ValueError(f"{args.config} must have task='classify' and val_data, for it asks of its classes")
    if args.k < 1:
        raise ValueError(f"--k takes how many neighbours vote, got {args.k}")
    if args.json:
        check_writable(Path(args.json).parent)
    device, model = pick_device(args.device), config.model.create(trained=args.weights is not None)
    if args.weights is not None:
        sys.stdout.write(f"{printable(load_weights(model.backbone, find_weights(args.weights)), keep=chr(10))}\n")
    backbone, found = model.backbone.to(device), {}
    with Bars(enabled=not args.quiet) as shown:
        for section in ("train_data", "val_data"):
            options = dict(view=config.view, device=device, batch_size=config.val_data.batch_size)
            samples = EvalSet(open_class_dataset(config, section))
            found[section] = frozen_features(backbone, samples, on_image=partial(shown.show, section), **options)
    (known, labels), (asked, truth) = found["train_data"], found["val_data"]
    of_all = dict(num_classes=config.model.num_classes)
    scores = {
        f"{args.k} neighbours": ClassScores.of(neighbour_logits(known, labels, asked, k=args.k, **of_all), truth),
        "linear": ClassScores.of(linear_logits(known, labels, asked, **of_all), truth),
    }
    sys.stdout.write(format_table([{"features": name, **each.means} for name, each in scores.items()]) + "\n")
    if args.json:
        write_text(Path(args.json), json.dumps({name: each.means for name, each in scores.items()}, indent=1) + "\n")
    return 0
