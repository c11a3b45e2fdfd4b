"""How many threads torch's operations use, for one Python thread and not for the whole process."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block, torch's operations on the CPU use one thread, in the Python thread that runs it alone.

    It is for many small operations, in which threads wait for one another longer than the work takes.
    `torch.set_num_threads` also changes the number for Python threads that begin meanwhile, and that of MKL, torch's
    matrix products, for all. OpenMP and MKL have a number for each thread too, which is set here. On other systems than
    Linux nothing is changed.
    """
    library, before = _torch_library(), torch.get_num_threads()  # asking also settles the number of a new thread
    if library is None or before == 1:
        yield
        return
    set_mkl = getattr(library, "MKL_Set_Num_Threads_Local", lambda _: None)  # not all processors have MKL
    mkl_before = set_mkl(1)
    library.omp_set_num_threads(1)
    try:
        yield
    finally:
        library.omp_set_num_threads(before)
        set_mkl(mkl_before)


@cache
def _torch_library() -> ctypes.CDLL | None:
    """torch's own library, through which its OpenMP is found too."""
    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    library = ctypes.CDLL(str(path)) if path.is_file() else None
    return library if hasattr(library, "omp_set_num_threads") else None
