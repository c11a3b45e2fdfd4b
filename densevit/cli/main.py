"""Parse, run, and turn a user's mistakes into one sentence."""

import argparse
import os
import re
import sys
from collections.abc import Container, Sequence

import densevit
from densevit.cli import export, fingerprint, models, predict, test, train
from densevit.environment import keep_freed_memory, let_threads_sleep

EXTRAS = dict(
    medical=("monai", "nibabel", "pydicom", "highdicom", "ignite", "fire"),
    report=("matplotlib",),
    bigdata=("zarr",),
    mmseg=("mmseg", "mmcv"),
)  # what brings a package that is missing; all others come with [train]
WORKER = re.compile(r"Caught \w+ in DataLoader worker")
COMMANDS = {
    "train": train,
    "test": test,
    "predict": predict,
    "fingerprint": fingerprint,
    "export": export,
    "models": models,
}


def build_parser(asked: Container[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of the whole command; the module of each verb that is asked for adds its flags."""
    parser = argparse.ArgumentParser("densevit", description="Dense prediction with transformers, in 2D and 3D.")
    parser.add_argument("--version", action="version", version=f"densevit {densevit.__version__}")
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        summary = command.__doc__.splitlines()[0]
        verb = verbs.add_parser(
            name,
            help=summary,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name in asked:
            command.add_arguments(verb)
        verb.add_argument("--traceback", action="store_true", help="show where an error came from")
        verb.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 done but something failed, 2 could not be done."""
    let_threads_sleep()
    argv = sys.argv[1:] if argv is None else argv
    args = build_parser(argv).parse_args(argv)
    try:
        with keep_freed_memory():
            return args.run(args)
    except KeyboardInterrupt:
        sys.stderr.write("densevit: interrupted\n")
        return 130
    except (ValueError, OSError, KeyError, ModuleNotFoundError) as error:
        sentence = explain(error)
        if args.traceback or os.environ.get("DENSEVIT_TRACEBACK") or sentence is None:
            raise
        sys.stderr.write(f"densevit: {sentence}\n")
        return 2


def explain(error: Exception) -> str | None:
    """The sentence for a user's mistake; None for what is no user's mistake."""
    if isinstance(error, ModuleNotFoundError):
        missing = (error.name or "densevit").partition(".")[0]
        extra = next((extra for extra, names in EXTRAS.items() if missing in names), "train")
        sentence = f"{missing} is not installed; pip install 'densevit[{extra}]' brings it"
        return None if missing == "densevit" else sentence
    if isinstance(error, KeyError):  # a registry's KeyError holds a sentence, a programming error's holds a key
        text = error.args[0] if error.args else None
        return text if isinstance(text, str) and " " in text else None
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.lower()}: {error.filename}" if error.filename else error.strerror.lower()
    return _without_worker(str(error))


def _without_worker(text: str) -> str:
    """What an error in a loader's worker says at its end, after the trace that torch puts before it."""
    if not WORKER.match(text):
        return text
    last = text.strip().rpartition("\n")[2]
    return last.partition(": ")[2] or last
