"""Settings of the whole process, which a command makes and a library call never does; warnings left out in a block.

Nothing here imports torch, because what the threads of torch do is decided as it is imported.
"""

import ctypes
import os
import re
import sys
import threading
import warnings
from collections.abc import Container, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock, get_ident

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # variables by which a user decides how threads wait
SPINS = 10_000  # turns that a waiting thread spins before it sleeps; docs/results.md, "Beside other work"
LARGEST_KEPT = 2**28  # bytes
_keeping = [0]  # how many blocks ask for it now
_keeping_lock = Lock()


def let_threads_sleep() -> None:
    """Let threads that wait for others soon leave the processor, unless the environment says how threads wait.

    By default OpenMP's threads spin, and beside other work they take from each other the processors that they wait
    for. Nothing is changed once torch is imported.
    """
    if "torch" not in sys.modules and not os.environ.keys() & set(WAITING):
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)


@contextmanager
def environment_variable(name: str, value: str) -> Iterator[None]:
    """Within the block a variable of the environment has that value, unless it had one before."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


@contextmanager
def quiet_threads(errnos: Container[int]) -> Iterator[None]:
    """Within the block, a thread that such an error of the system ends leaves no traceback on the terminal.

    TensorBoard writes in a thread, and gives the error to whoever writes next as well.
    """
    before = threading.excepthook

    def hook(ended: threading.ExceptHookArgs) -> None:
        if not isinstance(ended.exc_value, OSError) or ended.exc_value.errno not in errnos:
            before(ended)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


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


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Within the block, the whole process keeps the memory that it frees, for example for a network's next forward.

    glibc otherwise gets and clears new pages for every large allocation, forward after forward: a third of the time of
    some networks on a CPU (docs/decisions/kept_memory.md). Allocations of more than `LARGEST_KEPT` bytes are left out;
    at the end what is free is given back. The commands run in such a block.
    """
    with _keeping_lock:
        _keeping[0] += 1
        if _keeping[0] == 1:
            _set_malloc(mmap_threshold=LARGEST_KEPT, trim_threshold=2**31 - 1)
    try:
        yield
    finally:
        with _keeping_lock:
            _keeping[0] -= 1
            if _keeping[0] == 0:
                _set_malloc(mmap_threshold=2**25, trim_threshold=2**26)  # where glibc's own adjustment ends up
                give_back_freed_memory()


def give_back_freed_memory() -> None:
    """Give what is free back to the system."""
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)


def _set_malloc(*, mmap_threshold: int, trim_threshold: int) -> None:
    libc = _libc()
    if libc is not None:
        m_mmap_threshold, m_trim_threshold, most_of_older_releases = -3, -1, 2**25
        if not libc.mallopt(m_mmap_threshold, mmap_threshold):
            libc.mallopt(m_mmap_threshold, most_of_older_releases)
        libc.mallopt(m_trim_threshold, trim_threshold)


@cache
def _libc() -> ctypes.CDLL | None:
    """glibc, where the process runs on it."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
