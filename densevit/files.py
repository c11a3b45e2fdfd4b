"""Writing a file so that its name never stands for half of it."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path`, of the same ending, to write to; it takes the place of `path` when the block ends well.

    Makes the folder. An OSError names `path`: a full disk does not say which file it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{uuid.uuid4().hex[:12]}.{path.name[-50:]}")
    try:
        yield aside
        os.replace(aside, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        aside.unlink(missing_ok=True)
