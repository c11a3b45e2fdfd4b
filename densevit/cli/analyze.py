"""Look into a checkpoint: how far it sees, what it attends to, what it confuses; or compare what runs cost.

Writes PNGs, analysis.json and one page, analysis.html, into a folder. Images are files or folders, as those of
`densevit predict`; without any, receptive fields are those of random noise. With --speed all names are runs, or
checkpoints. What is shown, and how it is computed: docs/analyze.md.
"""

import argparse
import sys

from densevit.quoting import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `analyze`."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="weights.safetensors, its folder, or that of a run")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="pictures or scans, or with --speed further runs")
    parser.add_argument("-o", "--output", default="analysis", metavar="DIR", help="default analysis")
    parser.add_argument(
        "--size", type=int, nargs="+", metavar="N", help="of the images' part that is seen, one number or one an axis"
    )
    parser.add_argument(
        "--query", type=int, nargs="+", metavar="N", help="the pixel, row and column, whose attention is drawn"
    )
    parser.add_argument(
        "--confusion",
        nargs="?",
        const="",
        metavar="FILE",
        help="the JSON of densevit evaluate, or the config whose test images are predicted; default the run's own",
    )
    parser.add_argument(
        "--speed",
        nargs="?",
        const="seconds",
        choices=("seconds", "parameters", "macs"),
        help="compare runs: score against seconds for an image, measured here, or parameters, or macs",
    )
    parser.add_argument(
        "--evaluation",
        nargs="+",
        default=[],
        metavar="FILE",
        help="of --speed: densevit evaluate's JSON, one a run",
    )
    parser.add_argument("--metric", metavar="NAME", help="of --speed: which score is shown")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default cpu")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Analyse, write, and say where."""
    from densevit.analyze.run import analyze, compare_speed

    common = dict(size=args.size, device=args.device, progress=not args.quiet)
    if args.speed is None:
        if args.evaluation or args.metric:
            raise ValueError("--evaluation and --metric are of --speed; give that too")
        page = analyze(args.checkpoint, args.images, args.output, query=args.query, confusion=args.confusion, **common)
    else:
        if args.query is not None or args.confusion is not None:
            raise ValueError("--speed compares runs, of which --query and --confusion are not drawn; leave them out")
        runs = [args.checkpoint, *args.images]
        options = dict(cost=args.speed, evaluations=args.evaluation, metric=args.metric)
        page = compare_speed(runs, args.output, **options, **common)
    sys.stdout.write(f"{printable(page)}\n")
    return 0
