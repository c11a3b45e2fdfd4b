"""Reading, working and writing at the same time, of one item after another."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item, Read, Made, Result = TypeVar("Item"), TypeVar("Read"), TypeVar("Made"), TypeVar("Result")


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

    def outcome(step: Callable[..., Any], item: Item, *made: Any) -> Any:
        """What a step returns, or the exception that it raises; one of the step before is handed on."""
        if made and isinstance(made[0], Exception):
            return made[0]
        try:
            return step(item, *made)
        except Exception as error:
            if not expected(error):
                raise
            return error.with_traceback(None)  # whose frames hold what was read

    with ThreadPoolExecutor(1, "read") as readers, ThreadPoolExecutor(1, "write") as writers:
        reading = [readers.submit(outcome, read, item) for item in items[:1]]
        writing: list[tuple[Item, Future]] = []
        for i, item in enumerate(items):
            # What was read is taken out of its list, and nothing else holds it, so that it is freed when it was used.
            made = reading.pop().result()
            reading = [readers.submit(outcome, read, following) for following in items[i + 1 : i + 2]]
            made = outcome(work, item, made)
            yield from ((before, future.result()) for before, future in writing)
            writing = [(item, writers.submit(outcome, write, item, made))]
            del made
        yield from ((before, future.result()) for before, future in writing)
