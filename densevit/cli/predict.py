"""Predict pictures, or scans, with one checkpoint.

Pictures: image files, folders and globs.
Outputs keep an input's path below the folder it was found in, as PNG: data/a/b.jpg, found in data, becomes
OUT/a/b.png, or with several formats OUT/<format>/a/b.png. A picture that cannot be read is reported and skipped, and
the exit code is then 1. Existing outputs are made anew unless --resume is given.

Scans, with a checkpoint of volumes: NIfTI, NRRD and MetaImage files, DICOM series, folders and globs; one file a
channel is NAME_0000, NAME_0001, ... Masks lie on the scan's own grid, OUT/NAME.nii.gz, with what was measured of every
structure in NAME.json and, of all scans, in volumes.csv; labels.ctbl and labels.txt name the labels in 3D Slicer and
ITK-SNAP.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densevit.cli.options import add_inference_options, add_launcher, per_axis

if TYPE_CHECKING:
    from densevit.checkpoint import Checkpoint
    from densevit.predictor.files import PredictionReport
    from densevit.predictor.volumes import VolumeReport
    from densevit.volumes.read_options import ReadOptions

SCAN_DEFAULTS = dict(
    geometry=None, series=None, allow_gantry_tilt=False, on_missing="error", max_bytes=None, dicom_seg=False,
    preview=False, largest_component=None, fill_holes=None,
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `predict`."""
    parser.usage = "densevit predict CHECKPOINT INPUTS... -o OUT [options]"
    parser.add_argument("checkpoint", help="weights.safetensors of a run; it holds all that is needed")
    parser.add_argument(
        "inputs", nargs="+", help="image files, folders or quoted globs such as 'data/**/*.png'; or scans"
    )
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
    _add_scan_options(parser.add_argument_group("scans"))


def _add_scan_options(group: argparse._ArgumentGroup) -> None:
    """What only a checkpoint of volumes knows."""
    group.add_argument(
        "--geometry", choices=("sform", "qform"), help="which one holds in a NIfTI file that disagrees with itself"
    )
    group.add_argument("--series", metavar="UID", help="of a DICOM folder with several: a SeriesInstanceUID or number")
    group.add_argument("--allow-gantry-tilt", action="store_true", help="read DICOM slices of a tilted gantry")
    group.add_argument(
        "--on-missing",
        choices=("error", "split"),
        default="error",
        help="a DICOM series that lacks slices: refuse it, or read its longest regular part",
    )
    group.add_argument(
        "--max-bytes", metavar="AMOUNT", help="what a scan may take as float32, such as 16GB; default 8 GiB"
    )
    group.add_argument("--dicom-seg", action="store_true", help="write NAME.dcm too, for DICOM series")
    group.add_argument("--preview", action="store_true", help="write NAME.png too, three planes with the structures")
    group.add_argument(
        "--largest-component", nargs="*", metavar="CLASS", help="keep the largest piece alone; of all classes if none"
    )
    group.add_argument(
        "--fill-holes", nargs="*", metavar="CLASS", help="fill what a class encloses; of all classes if none"
    )


def run(args: argparse.Namespace) -> int:
    """Predict, then say how many pictures failed."""
    from densevit.checkpoint import open_checkpoint
    from densevit.devices import pick_device
    from densevit.predictor import Predictor, predict
    from densevit.predictor.inputs import find_pictures
    from densevit.processes import launched_as

    opened = open_checkpoint(args.checkpoint)
    if opened.header.image_dims == 3:
        return _run_volumes(args, opened)
    _refuse_scan_options(args)
    rank, size, local_rank = launched_as(args.launcher)
    find_pictures(args.inputs, recursive=args.recursive)  # a mistyped path is told before the model is built
    predictor = Predictor(
        opened,
        device=pick_device(args.device, local_rank),
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
    return _tell(report, args.out, "pictures")


def _refuse_scan_options(args: argparse.Namespace) -> None:
    for name, default in SCAN_DEFAULTS.items():
        if getattr(args, name) != default:
            raise ValueError(f"--{name.replace('_', '-')} is for scans, and this is a checkpoint of pictures")


def _run_volumes(args: argparse.Namespace, opened: "Checkpoint") -> int:
    """The same for scans."""
    from densevit.devices import pick_device
    from densevit.files import check_writable
    from densevit.predictor.cleaning import Cleaning
    from densevit.predictor.volumes import VolumePredictor, find_scans, predict_volumes
    from densevit.processes import launched_as

    if args.format != ["train_ids"] or args.recursive or args.compile:
        raise ValueError("--format, --recursive and --compile are for pictures, and this is a checkpoint of volumes")
    rank, size, local_rank = launched_as(args.launcher)
    find_scans(args.inputs, channels=opened.header.image_channels)  # a mistyped path is told before the model is built
    check_writable(Path(args.out))
    predictor = VolumePredictor(
        opened,
        device=pick_device(args.device, local_rank),
        amp=args.amp,
        max_memory=args.max_memory,
        read=_read_options(args),
        clean=Cleaning(largest_component=args.largest_component, fill_holes=args.fill_holes),
        mode=args.mode,
        roi_size=per_axis(args.roi_size, spatial_dims=3),
        stride=per_axis(args.stride, spatial_dims=3),
        batch_size=args.batch_size,
        flips=(-1,) if args.flip else None,
        scales=args.scales,
    )
    with _log_to_stderr(logging.INFO if args.max_memory else logging.WARNING):
        options = dict(resume=args.resume, progress=not args.quiet, share=(rank, size), dicom_seg=args.dicom_seg)
        report = predict_volumes(predictor, args.inputs, args.out, **options, preview=_preview(args))
    return _tell(report, args.out, "scans")


def _read_options(args: argparse.Namespace) -> "ReadOptions":
    from densevit.units import parse_bytes
    from densevit.volumes.read_options import ReadOptions

    return ReadOptions(
        geometry=args.geometry,
        series=args.series,
        allow_gantry_tilt=args.allow_gantry_tilt,
        on_missing=args.on_missing,
        **({} if args.max_bytes is None else dict(max_bytes=parse_bytes(args.max_bytes))),
    )


def _preview(args: argparse.Namespace) -> Callable[..., Any] | None:
    if not args.preview:
        return None
    from densevit.report.preview import save_preview

    return save_preview


def _tell(report: "PredictionReport | VolumeReport", out: str, things: str) -> int:
    """Say what became of the inputs; the exit code."""
    done, failed = len(report.written), len(report.failed)
    already = f", {len(report.resumed)} done before" if report.resumed else ""
    sys.stdout.write(f"{done} predicted{already}, results in {out}\n")
    if failed:
        sys.stderr.write(f"densevit: {failed} of {done + failed + len(report.resumed)} {things} failed, see above\n")
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
