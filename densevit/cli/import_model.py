"""Make a checkpoint of what another program trained.

nnunet: a folder of nnU-Net's results, TRAINER__PLANS__CONFIGURATION, with plans.json, dataset.json and fold_X. What
`densevit predict` then writes of a scan are nnU-Net's masks, with the same folds, mirrors and windows.
monai-bundle: a folder with configs/inference.json, configs/metadata.json and models/, whose masks are then those of
`python -m monai.bundle run`. Nothing in it is run.
"""

import argparse
import sys

from densevit.quoting import message

KINDS = ("nnunet", "monai-bundle")
OF_NNUNET = dict(folds=None, checkpoint="final", axes=None)  # the flags that are for it alone, and their defaults


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `import`."""
    parser.usage = "densevit import {nnunet,monai-bundle} FOLDER -o DIR [options]"
    parser.add_argument("kind", choices=KINDS, help="which program it is of")
    parser.add_argument("folder", metavar="FOLDER", help="of one trained configuration, or of a bundle")
    parser.add_argument("-o", "--out", required=True, metavar="DIR", help="folder of the new weights.safetensors")
    parser.add_argument(
        "--folds", nargs="+", metavar="FOLD", help="nnunet: which ones, such as 0 1 2 or all; default all there"
    )
    parser.add_argument(
        "--checkpoint",
        choices=("final", "best"),
        default="final",
        help="nnunet: checkpoint_final.pth, the default, or checkpoint_best.pth",
    )
    parser.add_argument(
        "--axes",
        choices=("file", "standard"),
        help="nnunet: how scans were turned for training: as in the file, or to superior, anterior and right, as for "
        "TotalSegmentator; the default is what the plans' reader of images does",
    )


def run(args: argparse.Namespace) -> int:
    """Write the checkpoint and say where it is."""
    given = {name: getattr(args, name) for name in OF_NNUNET}
    if args.kind == "nnunet":
        from densevit.integrations.nnunet import import_nnunet

        path = import_nnunet(args.folder, args.out, **given)
    else:
        from densevit.integrations.monai_bundle import import_monai_bundle

        others = [f"--{name}" for name, value in given.items() if value != OF_NNUNET[name]]
        if others:
            raise ValueError(f"{', '.join(others)} is for folders of nnU-Net; leave it out")
        path = import_monai_bundle(args.folder, args.out)
    sys.stdout.write(f"{message(path)}\n")
    return 0
