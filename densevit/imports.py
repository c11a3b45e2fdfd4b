"""Modules of a user's own, imported because a config or a command names them: they register backbones, losses, hooks.

Only names that a user wrote are imported, never those that a checkpoint holds.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, invalidate_caches
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class _Module:
    """What a user called `said`: the module `name` in `folder`, or, where that is None, found as any other is."""

    said: str
    name: str
    folder: Path | None

    @property
    def lasting(self) -> str:
        """The same, by which it is found from every folder."""
        alone = None if self.folder is None else self.folder / f"{self.name}.py"
        return self.said if alone is None or not alone.is_file() else str(alone.resolve())


def import_modules(names: Sequence[str], *, folders: Sequence[Path] = ()) -> tuple[str, ...]:
    """Import modules by name, or by the path of a .py file; those that are not installed are looked for in `folders`.

    One that cannot be imported is tried again after the others, for it may need what they bring. Returns the names by
    which they are found from every folder. Raises ValueError with one sentence.
    """
    modules = [_find(name, folders) for name in names]
    waiting = list(modules)
    while waiting:
        failed = [(module, error) for module in waiting if (error := _try(module)) is not None]
        if len(failed) == len(waiting):
            module, error = failed[0]
            kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
            advice = "; is it installed?" if isinstance(error, ModuleNotFoundError) else ""
            raise ValueError(f"custom_imports: cannot import {module.said!r} ({kind}{error}){advice}") from error
        waiting = [module for module, _ in failed]
    return tuple(module.lasting for module in modules)


def _find(said: str, folders: Sequence[Path]) -> _Module:
    if said.endswith(".py"):
        path = next((folder / said for folder in (*folders, Path()) if (folder / said).is_file()), None)
        if path is None:
            raise ValueError(f"custom_imports: the file {said!r} does not exist; give a module's name or its path")
        return _checked(_Module(said, path.stem, path.parent))
    parts = said.split(".")
    if not all(part.isidentifier() for part in parts):
        raise ValueError(f"custom_imports: {said!r} is no name of a module; write it as my_parts or my_package.parts")
    places = [folder.joinpath(*parts) for folder in folders]
    there = [place for place in places if place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()]
    if not there or parts[0] == "densevit":
        return _Module(said, said, None)
    folder = there[0].parents[len(parts) - 1]
    return _checked(_Module(said, said, folder))


def _checked(module: _Module) -> _Module:
    """The module, unless another one of its name is imported or installed already."""
    own, first = module.folder.resolve(), module.name.partition(".")[0]
    loaded = sys.modules.get(first)
    other = getattr(loaded, "__file__", None) if loaded is not None else getattr(find_spec(first), "origin", None)
    if loaded is None and other is None:
        return module
    if other is None or not Path(other).resolve().is_relative_to(own):
        where = f", {other}" if other else ""
        raise ValueError(
            f"custom_imports: {module.said!r} in {module.folder} has the name of another module{where}; rename it"
        )
    return module


def _try(module: _Module) -> Exception | None:
    """Why the module cannot be imported. Its folder is on the path for as long as the import takes."""
    added = [] if module.folder is None else [str(module.folder.resolve())]
    sys.path[:0] = added
    try:
        invalidate_caches()  # of files that were written since the program began
        import_module(module.name)
    except Exception as error:  # a module is code, so importing it may raise anything
        return error
    finally:
        for folder in added:
            sys.path.remove(folder)
    return None
