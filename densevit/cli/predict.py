"""Predict image files, folders and globs with one checkpoint.

Outputs keep an input's path below the folder it was found in, as PNG: data/a/b.jpg, found in data, becomes
OUT/a/b.png, or with several formats OUT/<format>/a/b.png. A picture that cannot be read is reported and skipped, and
the exit code is then 1. Existing outputs are made anew unless --resume is given.
"""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from densevit.cli.options import add_inference_options, add_launcher, per_axis


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `predict`."""
    parser.usage = "densevit predict CHECKPOINT INPUTS... -o OUT [options]"
    parser.add_argument("checkpoint", help="weights.safetensors of a run; it holds all that is needed")
    parser.add_argument("inputs", nargs="+", help="image files, folders or quoted globs such as 'data/**/*.png'")
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="folder of the results")
    parser.add_argument(
        "--format",
        nargs="+",
        default=["train_ids"],
        metavar="FORMAT",
        help="train_ids (class numbers), label_ids (for the Cityscapes server), palette, overlay; default train_ids",
    )
    parser.add_argument("--recursive", action="store_true", help="go into the subfolders of input folders")
    parser.add_argument("--resume", action="store_true", help="skip the pictures whose outputs all exist")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_inference_options(parser)
    parser.add_argument("--flip", action="store_true", help="average with the mirrored picture")
    parser.add_argument("--scales", type=float, nargs="+", metavar="S", help="average over sizes: 0.75 1.0 1.25")
    parser.add_argument(
        "--max-memory", metavar="AMOUNT", help="of windows beside model and picture, such as 4GB; says what it plans"
    )
    add_launcher(parser)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps; default a GPU where there is one")
    parser.add_argument("--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), help="mixed precision")
    parser.add_argument(
        "--compile", action="store_true", help="compile the model first: worth it for many pictures of one size"
    )


def run(args: argparse.Namespace) -> int:
    """Predict, then say how many pictures failed."""
    from densevit.engine.distributed import launched_as
    from densevit.predictor import Predictor, default_device, predict
    from densevit.predictor.inputs import find_pictures

    rank, size, local_rank = launched_as(args.launcher)
    find_pictures(args.inputs, recursive=args.recursive)  # a mistyped path is told before the model is built
    predictor = Predictor(
        args.checkpoint,
        device=args.device or default_device(local_rank),
        amp=args.amp,
        mode=args.mode,
        roi_size=per_axis(args.roi_size),
        stride=per_axis(args.stride),
        batch_size=args.batch_size,
        flips=(-1,) if args.flip else None,
        scales=args.scales,
        max_memory=args.max_memory,
        compile=args.compile,
    )
    with _log_to_stderr(logging.INFO if args.max_memory else logging.WARNING):
        report = predict(
            predictor,
            args.inputs,
            args.out,
            formats=args.format,
            recursive=args.recursive,
            resume=args.resume,
            progress=not args.quiet and rank == 0,
            share=(rank, size),
        )
    done, failed = len(report.written), len(report.failed)
    already = f", {len(report.resumed)} done before" if report.resumed else ""
    sys.stdout.write(f"{done} predicted{already}, results in {args.out}\n")
    if failed:
        sys.stderr.write(f"densevit: {failed} of {done + failed + len(report.resumed)} pictures failed, see above\n")
    return 1 if failed else 0


class StderrHandler(logging.Handler):
    """One line a message on whatever stderr is at that moment; a live progress bar replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"densevit: {record.getMessage()}\n")


@contextmanager
def _log_to_stderr(level: int) -> Iterator[None]:
    logger, handler = logging.getLogger("densevit"), StderrHandler(level)
    before = logger.level
    logger.setLevel(min(level, logger.getEffectiveLevel()))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
