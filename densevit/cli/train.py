"""Train the model of a config.

The run folder gets the config, log.txt, scalars.jsonl, checkpoints/iter_N and best/weights.safetensors.
"""

import argparse

from densevit.cli.options import add_config_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `train`, as OpenMMLab's users know them."""
    parser.add_argument("config", help="a Python file such as configs/segformer_b2_cityscapes.py")
    parser.add_argument("--work-dir", metavar="DIR", help="the run's folder; default work_dirs/<name of the config>")
    parser.add_argument("--resume", action="store_true", help="go on from the run folder's last checkpoint")
    parser.add_argument(
        "--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), help="mixed precision; bf16 unless named"
    )
    add_config_options(parser)


def run(args: argparse.Namespace) -> int:
    """Check the config, then train; 128 + the signal's number when a signal ended the run early."""
    from densevit.train.config import load_config, parse_overrides
    from densevit.train.run import train

    overrides = parse_overrides(args.cfg_options)
    if args.amp is not None:
        overrides["train_cfg.amp"] = args.amp
    result = train(
        load_config(args.config, overrides),
        work_dir=args.work_dir,
        resume=args.resume,
        launcher=args.launcher,
        device=args.device,
    )
    return 0 if result.stopped is None else 128 + result.stopped
