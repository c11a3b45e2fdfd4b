"""Parse, run, and turn a user's mistakes into one sentence, whatever became of standard output and error."""

import argparse
import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TextIO

import densevit
from densevit.cli.options import in_words
from densevit.environment import keep_freed_memory, let_threads_sleep, quiet_threads
from densevit.files import FULL, system_error
from densevit.imports import import_modules
from densevit.quoting import message, printable

EXTRAS = dict(
    medical=("monai", "nibabel", "pydicom", "highdicom", "ignite", "fire"),
    report=("matplotlib", "jinja2"),
    bigdata=("zarr",),
    mmseg=("mmseg", "mmcv"),
    clip=("tokenizers",),
    dna=("dynamic_network_architectures",),
    smp=("segmentation_models_pytorch",),
    transformers=("transformers",),
    hub=("huggingface_hub",),
)  # what brings a package that is missing; all others come with [train]
WORKER = re.compile(r"Caught \w+ in DataLoader worker")
WRITER = re.compile(r"enforce fail at inline_container|PytorchStreamWriter")  # torch's, which does not say why
ANSWERED = ("train", "test", "predict", "fingerprint")  # in their own words; what others say names no such option
COMMANDS = (
    *("train", "test", "predict", "classify", "probe", "evaluate", "report"),
    *("analyze", "doctor", "fingerprint", "export", "import", "models", "weights"),
)
HOMES = {"import": "import_model"}  # modules that cannot be called as their command


def build_parser(commands: Iterable[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of these commands; the module of each, imported here, adds its own flags."""
    parser = _Parser("densevit", description="Dense prediction with transformers, in 2D and 3D.")
    parser.add_argument("--version", action="version", version=f"densevit {densevit.__version__}")
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in commands:
        command = import_module(f"densevit.cli.{HOMES.get(name, name)}")
        verb = verbs.add_parser(
            name,
            help=(command.__doc__ or "").partition("\n")[0],  # `python -OO` has no docstrings
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(verb)
        verb.add_argument(
            "--custom-imports",
            action="append",
            default=[],
            metavar="MODULE",
            help="a module of your own to import first, by name or as a .py file: it registers backbones and decoders",
        )
        verb.add_argument("--traceback", action="store_true", help="show where an error came from")
        verb.set_defaults(run=command.run)
    return parser


class _Parser(argparse.ArgumentParser):
    """Errors quote what was typed, which a glob may have taken from names of files."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 done but something failed, 2 could not be done."""
    with lasting_output() as outputs:
        try:
            code = _run(sys.argv[1:] if argv is None else list(argv))
        except KeyboardInterrupt:
            sys.stderr.write("densevit: interrupted\n")
            return 130
        for output in outputs:
            output.flush()
        lost = next((output.error for output in outputs if output.error is not None), None)
        if lost is not None:
            sys.stderr.write(f"densevit: not all of what was said could be written: {message(explain(lost))}\n")
        return code if lost is None else max(code, 1)


def _run(words: Sequence[str]) -> int:
    """The exit code of a command line; what is no user's mistake is raised."""
    let_threads_sleep()
    named = [word for word in words[:1] if word in COMMANDS]  # the others' modules are not needed
    args = build_parser(named or COMMANDS).parse_args(words)
    try:
        with keep_freed_memory(), quiet_threads(FULL):
            if args.custom_imports:
                import_module("densevit.segmentor")  # what a module of one's own adds to is there
                import_modules(args.custom_imports, folders=[Path()])
            return args.run(args)
    except (ValueError, OSError, KeyError, ModuleNotFoundError, RuntimeError) as error:
        sentence = explain(error)
        if args.traceback or os.environ.get("DENSEVIT_TRACEBACK") or sentence is None:
            raise
        if named and named[0] in ANSWERED:
            sentence = in_words(sentence, vars(args))
        sys.stderr.write(f"densevit: {message(sentence)}\n")
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
    if isinstance(error, RuntimeError):
        cause = system_error(error)
        if cause is not None and cause.errno in FULL:
            return explain(cause)
        return "a file could not be written to its end, as on a full disk" if WRITER.search(str(error)) else None
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.lower()}: {error.filename}" if error.filename else error.strerror.lower()
    return _without_worker(str(error))


def _without_worker(text: str) -> str:
    """What an error in a loader's worker says at its end, after the trace that torch puts before it."""
    if not WORKER.match(text):
        return text
    last = text.strip().rpartition("\n")[2]
    return last.partition(": ")[2] or last


class Output:
    """A text stream that never ends a command: what can no longer be written is dropped, and `error` says why.

    A reader that went away, as `head` does, is no error.
    """

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """As of any stream."""
        with self._dropping():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As of any stream."""
        with self._dropping():
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno != errno.EPIPE:
                self.error = error
            with suppress(OSError, ValueError):  # what is still buffered goes nowhere too
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)


@contextmanager
def lasting_output() -> Iterator[list[Output]]:
    """Within the block `sys.stdout` and `sys.stderr` are each an `Output`; one that the caller closed is dropped."""
    for descriptor in range(3):  # or a file of ours would be opened in its place, and be written over
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nowhere:
        outputs = [Output(nowhere if stream is None else stream) for stream in before]
        sys.stdout, sys.stderr = outputs
        try:
            yield outputs
        finally:
            for output in outputs:
                output.flush()
            sys.stdout, sys.stderr = before
