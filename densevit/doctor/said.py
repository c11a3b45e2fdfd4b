"""What the package warns of while it reads, kept instead of logged."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def keeping_warnings() -> Iterator[list[str]]:
    """Within the block warnings of the package come into the list, and nowhere else."""
    said: list[str] = []
    handler, logger = logging.Handler(logging.WARNING), logging.getLogger("densevit")
    handler.emit = lambda record: said.append(record.getMessage())
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated
