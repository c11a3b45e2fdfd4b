"""Write a trained model in the form of another program.

monai-bundle: a folder that `python -m monai.bundle run`, MONAI Label and MONAI Deploy read. On a scan it gives the mask
that `densevit predict` gives.
"""

import argparse
import sys
from pathlib import Path

from densevit.quoting import message

KINDS = ("monai-bundle",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `export`."""
    parser.usage = "densevit export monai-bundle RUN -o DIR [options]"
    parser.add_argument("kind", choices=KINDS, help="what to write")
    parser.add_argument(
        "source", metavar="RUN", help="folder of a run on volumes (its best weights), or a weights.safetensors"
    )
    parser.add_argument("-o", "--out", required=True, metavar="DIR", help="the new folder; it must not hold files")
    parser.add_argument("--name", help="of the bundle; default made of the model's")
    parser.add_argument("--description", help="a sentence or two")
    parser.add_argument("--authors", help="who trained it")
    parser.add_argument("--copyright", help="such as 'Copyright (c) 2026 ...'")
    parser.add_argument("--bundle-version", default="0.1.0", metavar="V", help="version of the bundle; default 0.1.0")
    parser.add_argument(
        "--license",
        metavar="FILE",
        help="text of the licence of the weights; without it LICENSE says that it is missing",
    )
    parser.add_argument("--data-license", metavar="FILE", help="text of the licence of the data they were trained on")
    parser.add_argument("--no-torchscript", action="store_true", help="leave out models/model.ts")


def run(args: argparse.Namespace) -> int:
    """Write the bundle and say where it is."""
    from densevit.export.monai_bundle import export_monai_bundle
    from densevit.export.monai_metadata import About
    from densevit.texts import read_text

    licences = dict(license=args.license, data_license=args.data_license)
    texts = {name: None if path is None else read_text(Path(path)) for name, path in licences.items()}
    said = {name: getattr(args, name) for name in ("name", "description", "authors", "copyright")}
    about = About(version=args.bundle_version, **said, **texts)
    imports = [Path(name).stem if name.endswith(".py") else name for name in args.custom_imports]
    folder = export_monai_bundle(
        args.source, args.out, about=about, torchscript=not args.no_torchscript, imports=imports
    )
    sys.stdout.write(f"{message(folder)}\n")
    if args.license is None:
        sys.stderr.write(f"densevit: the licence of the weights is not stated; fill in {message(folder / 'LICENSE')}\n")
    return 0
