"""Where messages go while a run lasts: the terminal and log.txt, from the first process alone."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from densevit.processes import rank_and_size
from densevit.quiet import ignore_warnings
from densevit.train.folder import LOG

logger = logging.getLogger("densevit")


class TerminalHandler(logging.StreamHandler):
    """Writes to whatever sys.stdout is at the moment, so that lines appear above a progress bar."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stdout


@contextmanager
def run_logging(work_dir: Path | None) -> Iterator[None]:
    """Send densevit's messages to the terminal, and to log.txt if there is a folder, for as long as the block lasts."""
    handlers: list[logging.Handler] = []
    if rank_and_size()[0] == 0:
        handlers.append(TerminalHandler())
        if work_dir is not None:
            handlers.append(logging.FileHandler(work_dir / LOG, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        # Said by mmengine and torch about each other's names, nothing a user could act on.
        with ignore_warnings(".*broadcast_buffers is deprecated|Grad strides do not match bucket view strides"):
            yield
    finally:
        logger.setLevel(level)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


def only_in_file(message: str) -> None:
    """A line for log.txt that the progress bar already shows on the terminal."""
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, message, (), None)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)
