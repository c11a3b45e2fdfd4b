"""A place holder for mmcv's compiled operators, which mmsegmentation imports and mmcv-lite lacks."""

import sys
from collections.abc import Callable
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


def stand_in() -> None:
    """Let `import mmcv.ops` succeed without a compiled mmcv, whose operators few of mmsegmentation's models call.

    A compiled mmcv is left as it is. Of the place holder mmengine still sees that it is not the real one.
    """
    if find_spec(EXTENSION) is not None:
        return
    extension = _NoExtension(EXTENSION)
    extension.__spec__ = ModuleSpec(EXTENSION, loader=None)
    package, _, name = EXTENSION.rpartition(".")
    sys.modules[EXTENSION] = extension
    setattr(sys.modules[package], name, extension)


stand_in()
