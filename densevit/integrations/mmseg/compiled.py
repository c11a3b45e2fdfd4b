"""A place holder for mmcv's compiled operators, which mmsegmentation imports and mmcv-lite lacks."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

EXTENSION = "mmcv._ext"


class _NoExtension(ModuleType):
    """Any name in it is a function that raises when it is called."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def operator(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError(f"the operator {name!r} needs a compiled mmcv; install mmcv in place of mmcv-lite")

        return operator


@contextmanager
def stand_in() -> Iterator[None]:
    """Within the block `import mmcv.ops` succeeds without a compiled mmcv; few of mmsegmentation's models call it.

    Where mmcv has its compiled operators, nothing is changed.
    """
    if find_spec(EXTENSION) is not None:
        yield
        return
    extension = _NoExtension(EXTENSION)
    extension.__spec__ = ModuleSpec(EXTENSION, loader=None)
    sys.modules[EXTENSION] = extension
    try:
        yield
    finally:
        del sys.modules[EXTENSION]


with stand_in():
    import_module("mmseg.models")
