"""From the command line's flags to a training run."""

from argparse import Namespace

from densevit.train.config.config import load_config
from densevit.train.config.overrides import parse_overrides
from densevit.train.run import RunResult, train


def train_from_args(args: Namespace) -> RunResult:
    """Run what the flags of `tools/train.py` say: config, work_dir, resume, amp, cfg_options, launcher, device.

    `cfg_options` is a list of "key=value" or a dictionary already parsed; ValueError for mistakes of the user's.
    """
    options = args.cfg_options or {}
    overrides = dict(options) if isinstance(options, dict) else parse_overrides(options)
    if args.amp is not None:
        overrides["train_cfg.amp"] = args.amp
    return train(
        load_config(args.config, overrides),
        work_dir=args.work_dir,
        resume=args.resume,
        launcher=args.launcher,
        device=getattr(args, "device", None),
    )
