"""Warnings of other packages left out in one thread, for as long as a block lasts."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident


class _InThisThread:
    """Takes the place of the pattern of messages in a filter of warnings, and matches in one thread alone."""

    def __init__(self, message: str):
        self.pattern = re.compile(message, re.IGNORECASE)
        self.thread: int | None = get_ident()

    def match(self, text: str) -> bool:
        return get_ident() == self.thread and self.pattern.match(text) is not None


@contextmanager
def ignore_warnings(message: str = "", *, module: str = "") -> Iterator[None]:
    """Without warnings of such a message, given by such a module (regular expressions), in the thread that runs it.

    `warnings.catch_warnings` changes the filters of all threads, and of two blocks that overlap the one that ends last
    puts back what the other had set. Here a filter is added, which other threads pass by, and taken away.
    """
    here = _InThisThread(message)
    entry = ("ignore", here, Warning, re.compile(module) if module else None, 0)
    warnings.filters.insert(0, entry)
    try:
        yield
    finally:
        here.thread = None  # should another thread put back filters that it saw within the block
        if entry in warnings.filters:
            warnings.filters.remove(entry)
