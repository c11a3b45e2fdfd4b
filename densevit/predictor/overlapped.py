"""Several things read, worked on and written, each step while its neighbours are at others."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")
Result = TypeVar("Result")


def overlapped(
    items: Sequence[Item],
    *,
    read: Callable[[Item], Read],
    work: Callable[[Item, Read], Made],
    write: Callable[[Item, Made], Result],
    expected: Callable[[Exception], bool],
) -> Iterator[tuple[Item, Result | Exception]]:
    """Each item with what `write` returned, or with the exception that one of its steps raised; in order.

    `read` and `write` run in a thread each, `work` in the caller's; no more than one item is in each step, so that
    memory is bounded. An exception that is not `expected` is raised. However the iteration ends, what is being written
    is finished first.
    """
    with ThreadPoolExecutor(1, "read") as readers, ThreadPoolExecutor(1, "write") as writers:
        reading = [readers.submit(read, item) for item in items[:1]]
        writing: list[tuple[Item, Future]] = []
        for i, item in enumerate(items):
            # What was read is taken out of its list, and nothing else holds it, so that it is freed when it was used.
            outcome = _outcome(reading.pop().result, expected)
            reading = [readers.submit(read, following) for following in items[i + 1 : i + 2]]
            if not isinstance(outcome, Exception):
                outcome = _outcome(partial(work, item, outcome), expected)
            if writing:
                yield _written(writing.pop(), expected)
            writing.append(
                (item, _failed(outcome) if isinstance(outcome, Exception) else writers.submit(write, item, outcome))
            )
            del outcome
        if writing:
            yield _written(writing.pop(), expected)


def _written(pending: tuple[Item, Future], expected: Callable[[Exception], bool]) -> tuple[Item, object]:
    item, future = pending
    return item, _outcome(future.result, expected)


def _failed(error: Exception) -> Future:
    future: Future = Future()
    future.set_exception(error)
    return future


def _outcome(step: Callable[[], object], expected: Callable[[Exception], bool]) -> object:
    """What a step returns, or the exception that it raises."""
    try:
        return step()
    except Exception as error:
        if not expected(error):
            raise
        return error.with_traceback(None)  # whose frames hold what was read
