"""Make a checkpoint of what another program trained.

nnunet: a folder of nnU-Net's results, TRAINER__PLANS__CONFIGURATION, with plans.json, dataset.json and fold_X. What
`densevit predict` then writes of a scan are nnU-Net's masks, with the same folds, mirrors and windows.
"""

import argparse
import sys

from densevit.quoting import message

KINDS = ("nnunet",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `import`."""
    parser.usage = "densevit import nnunet FOLDER -o DIR [options]"
    parser.add_argument("kind", choices=KINDS, help="which program it is of")
    parser.add_argument("folder", metavar="FOLDER", help="of one trained configuration, with plans.json and fold_X")
    parser.add_argument("-o", "--out", required=True, metavar="DIR", help="folder of the new weights.safetensors")
    parser.add_argument(
        "--folds", nargs="+", metavar="FOLD", help="which ones, such as 0 1 2 or all; default all there"
    )
    parser.add_argument(
        "--checkpoint",
        choices=("final", "best"),
        default="final",
        help="checkpoint_final.pth, the default, or checkpoint_best.pth",
    )
    parser.add_argument(
        "--axes",
        choices=("file", "standard"),
        help="how scans were turned for training: as in the file, or to superior, anterior and right, as for "
        "TotalSegmentator; the default is what the plans' reader of images does",
    )


def run(args: argparse.Namespace) -> int:
    """Write the checkpoint and say where it is."""
    from densevit.integrations.nnunet import import_nnunet

    path = import_nnunet(args.folder, args.out, folds=args.folds, checkpoint=args.checkpoint, axes=args.axes)
    sys.stdout.write(f"{message(path)}\n")
    return 0
