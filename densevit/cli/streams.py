"""Standard output and error as a command has them: closed, read to the end, or no longer read by anybody."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


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
