"""Predict pictures, scans or videos with one checkpoint, whose model says which.

Pictures: image files, folders and globs.
Outputs keep an input's path below the folder it was found in, as PNG: data/a/b.jpg, found in data, becomes
OUT/a/b.png, or with several formats OUT/<format>/a/b.png. Where several inputs hold files of one name, all results are
called by their paths below the nearest folder of all: p1 and p2 give OUT/p1/b.png and OUT/p2/b.png. A picture that
cannot be read is reported and skipped, and the exit code is then 1. Existing outputs are made anew; --resume leaves
those that the same model made of the same file with the same options.

Scans, with a model of volumes or of their slices: NIfTI, NRRD and MetaImage files, DICOM series, folders and globs; one
file a channel is NAME_0000, NAME_0001, ..., or in a folder a case as it was called in training. Masks lie on a scan's
own grid, OUT/NAME.nii.gz, with what was measured of every structure in NAME.json and, of all scans, in volumes.csv;
labels.ctbl and labels.txt name the labels in 3D Slicer and ITK-SNAP. NAME is a path too where scans lie in subfolders.

Videos, with a model of clips, or with one of pictures frame by frame: video files, folders of frames, folders of these
and globs. Each frame is a PNG in the folder OUT/NAME, and with --format overlay all are OUT/NAME.webm. OUT/NAME.json
says how steady the label maps are.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densevit.cli.options import (
    add_class_names,
    add_inference_options,
    add_launcher,
    class_names,
    in_words,
    per_axis,
    refinements,
)
from densevit.quoting import message

if TYPE_CHECKING:
    from densevit.checkpoint import Checkpoint, Header
    from densevit.predictor import PredictionReport
    from densevit.volumes.volume import ReadOptions

# What only a checkpoint of volumes knows: flags, and what argparse has to know of them.
SCAN_OPTIONS = {
    "--geometry": dict(choices=("sform", "qform"), help="which one holds in a NIfTI file that disagrees with itself"),
    "--series": dict(metavar="UID", help="of a DICOM folder with several: a SeriesInstanceUID or number"),
    "--modality": dict(metavar="NAME", help="of a patient's DICOM series: CT, MR or PT (PET)"),
    "--allow-gantry-tilt": dict(action="store_true", help="read DICOM slices of a tilted gantry"),
    "--on-missing": dict(
        choices=("error", "split"),
        help="a DICOM series that lacks slices: refuse it (the default), or read its longest regular part",
    ),
    "--stored-values": dict(
        action="store_true", help="take the values of a CT or PET in DICOM that does not say how they become its unit"
    ),
    "--max-bytes": dict(metavar="AMOUNT", help="what a scan may take as float32, such as 16GB; default 8 GiB"),
    "--images": dict(
        nargs="+",
        metavar="NAME",
        help="what the file of each channel is called in a folder a case, such as t1.nii.gz '*_t2.nii.gz'; the default "
        "is as in training",
    ),
    "--dicom-seg": dict(action="store_true", help="write NAME.dcm too, for DICOM series"),
    "--preview": dict(action="store_true", help="write NAME.png too, three planes with the structures"),
    "--largest-component": dict(
        nargs="*", metavar="CLASS", help="keep the largest piece alone; of all classes if none"
    ),
    "--fill-holes": dict(nargs="*", metavar="CLASS", help="fill what a class encloses; of all classes if none"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `predict`."""
    parser.usage = "densevit predict CHECKPOINT INPUTS... -o OUT [options]"
    parser.add_argument(
        "checkpoint", help="the folder of a run, a weights.safetensors, or hf:USER/MODEL at the Hugging Face hub"
    )
    parser.add_argument(
        "inputs", nargs="+", help="image files, folders or quoted globs such as 'data/**/*.png'; scans; or videos"
    )
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="folder of the results")
    parser.add_argument(
        "--format",
        nargs="+",
        metavar="FORMAT",
        action="extend",
        help="label_ids (the values of the label files, for Cityscapes those of its server; default where they are "
        "others than the class numbers), train_ids (class numbers), palette, overlay; several make a folder each",
    )
    parser.add_argument("--recursive", action="store_true", help="go into the subfolders of input folders")
    parser.add_argument(
        "--resume", action="store_true", help="skip the inputs whose outputs this model made with these options"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_class_names(parser, of_pixels=True)
    add_inference_options(parser)
    parser.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        help="average with the image mirrored from left to right, or with --no-flip with no mirrored one",
    )
    parser.add_argument("--scales", type=float, nargs="+", metavar="S", help="average over sizes: 0.75 1.0 1.25")
    parser.add_argument(
        "--max-memory", metavar="AMOUNT", help="of windows beside model and image, such as 4GB; says what it plans"
    )
    add_launcher(parser)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps; default a GPU where there is one")
    parser.add_argument("--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), help="mixed precision")
    parser.add_argument(
        "--compile", action="store_true", help="compile the model first: worth it for many images of one size"
    )
    parser.add_argument("--video", action="store_true", help="folders of pictures are videos, with a model of pictures")
    scans = parser.add_argument_group("scans")
    for flag, options in SCAN_OPTIONS.items():
        scans.add_argument(flag, default=None, **options)


def run(args: argparse.Namespace) -> int:
    """Predict, then say how many inputs failed."""
    from densevit.files import check_writable
    from densevit.predictor import Predictor, predict
    from densevit.predictor.predictor import open_reader
    from densevit.predictor.structures import Cleaning
    from densevit.predictor.videos import VideoReader, are_videos
    from densevit.processes import launched_as, pick_device

    opened = _open(args)
    if args.images is not None:
        opened = replace(opened, header=replace(opened.header, images=tuple(args.images)))
    header, read = opened.header, _read_options(args)
    _refuse_options_of_others(args, header)
    of_videos = (args.video or not header.is_of_volumes) and are_videos(args.inputs, header, asked=args.video)
    reader = VideoReader(header) if of_videos else open_reader(header, read)
    rank, size, local_rank = launched_as(args.launcher)
    with _log_to_stderr(logging.ERROR, args):  # a mistyped path is told before the model is built, and all else later
        reader.find(args.inputs, recursive=args.recursive, exclude=Path(args.out))
    check_writable(Path(args.out))
    predictor = Predictor(
        opened,
        device=pick_device(args.device, local_rank),
        amp=args.amp,
        max_memory=args.max_memory,
        compile=args.compile,
        read=read,
        clean=Cleaning(largest_component=args.largest_component, fill_holes=args.fill_holes),
        mode=args.mode,
        roi_size=per_axis(args.roi_size, spatial_dims=header.spatial_dims),
        stride=per_axis(args.stride, spatial_dims=header.spatial_dims),
        batch_size=args.batch_size,
        flips={None: None, True: (-1,), False: ()}[args.flip],
        scales=args.scales,
    )
    with _log_to_stderr(logging.INFO if args.max_memory else logging.WARNING, args):
        report = predict(
            predictor,
            args.inputs,
            args.out,
            formats=args.format,
            recursive=args.recursive,
            resume=args.resume,
            progress=not args.quiet,
            share=(rank, size),
            dicom_seg=bool(args.dicom_seg),
            preview=_save_preview() if args.preview else None,
            video=args.video,
        )
    return _tell(report, args.out, "scans" if header.is_of_volumes else "videos" if of_videos else "pictures")


def _open(args: argparse.Namespace) -> "Checkpoint":
    """The checkpoint, or with --classes the segmentor that a CLIP becomes."""
    from densevit.checkpoint import open_checkpoint

    if [args.classes, args.templates, args.prompt_denoising, args.key_smoothing] == [None] * 4:
        return open_checkpoint(args.checkpoint)
    from densevit.predictor.zero_shot import segmentor_of

    return segmentor_of(args.checkpoint, class_names(args), templates=args.templates, **refinements(args))


def _refuse_options_of_others(args: argparse.Namespace, header: "Header") -> None:
    """ValueError for options of pictures with a checkpoint of volumes, and the other way round."""
    if header.is_of_volumes and args.format is not None:
        raise ValueError("--format is for pictures, and this is a checkpoint of volumes")
    given = [flag for flag in SCAN_OPTIONS if getattr(args, flag[2:].replace("-", "_")) is not None]
    if given and not header.is_of_volumes:
        kind = "pictures" if header.clips is None else "clips"
        raise ValueError(f"{given[0]} is for scans, and this is a checkpoint of {kind}")


def _read_options(args: argparse.Namespace) -> "ReadOptions":
    from densevit.texts import parse_bytes
    from densevit.volumes.volume import ReadOptions

    given = {field.name: getattr(args, field.name) for field in fields(ReadOptions)}
    given |= dict(max_bytes=None if args.max_bytes is None else parse_bytes(args.max_bytes))
    return ReadOptions(**{name: value for name, value in given.items() if value is not None})


def _save_preview() -> Callable[..., Any]:
    from densevit.report.preview import save_preview  # which brings matplotlib

    return save_preview


def _tell(report: "PredictionReport", out: str, things: str) -> int:
    """Say what became of the inputs; the exit code."""
    done, failed = len(report.written), len(report.failed)
    already = f", {len(report.resumed)} done before" if report.resumed else ""
    for path, steady in report.temporal.items():
        sys.stdout.write(f"{message(path)}: {steady}\n")
    sys.stdout.write(f"{done} predicted{already}, results in {message(out)}\n")
    if failed:
        sys.stderr.write(f"densevit: {failed} of {done + failed + len(report.resumed)} {things} failed, see above\n")
    return 1 if failed else 0


class StderrHandler(logging.Handler):
    """One line a message on whatever stderr is at that moment, in the words of the arguments that were `typed`."""

    def __init__(self, level: int, typed: Mapping[str, Any]):
        super().__init__(level)
        self.typed = typed

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"densevit: {message(in_words(record.getMessage(), self.typed))}\n")


@contextmanager
def _log_to_stderr(level: int, args: argparse.Namespace) -> Iterator[None]:
    logger, handler = logging.getLogger("densevit"), StderrHandler(level, vars(args))
    before = logger.level
    logger.setLevel(min(level, logger.getEffectiveLevel()))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
