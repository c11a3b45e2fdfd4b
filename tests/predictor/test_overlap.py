"""Steps of several things at once."""

import threading
import weakref

import pytest

from densevit.predictor.overlap import overlapped


class Thing:
    """Something large."""

    def __init__(self, number):
        self.number = number


def run(items, **steps):
    defaults = dict(
        read=lambda i: Thing(i),
        work=lambda i, thing: thing,
        write=lambda i, thing: thing.number * 10,
        expected=lambda error: isinstance(error, ValueError),
    )
    return list(overlapped(items, **(defaults | steps)))


def test_every_item_comes_once_in_order_with_what_was_written():
    assert run([3, 1, 2]) == [(3, 30), (1, 10), (2, 20)]
    assert run([]) == []


@pytest.mark.parametrize("step", ["read", "work", "write"])
def test_an_exception_belongs_to_its_item(step):
    def fail(i, *rest):
        if i == 1:
            raise ValueError(f"item {i}")
        return {"read": lambda: Thing(i), "work": lambda: rest[0], "write": lambda: i * 10}[step]()

    outcomes = run([0, 1, 2], **{step: fail})
    assert [i for i, _ in outcomes] == [0, 1, 2]
    assert str(outcomes[1][1]) == "item 1"
    assert (outcomes[0][1], outcomes[2][1]) == (0, 20)


@pytest.mark.parametrize("step", ["read", "work", "write"])
def test_an_unexpected_exception_is_raised(step):
    def fail(i, *rest):
        raise KeyError("a mistake of the program")

    with pytest.raises(KeyError):
        run([0, 1], **{step: fail})


def test_reading_working_and_writing_go_on_at_the_same_time_and_no_more_than_one_thing_is_in_each():
    """Each step of one item waits for the neighbouring steps of its neighbours to have begun."""
    together, alive = threading.Barrier(3), weakref.WeakSet()

    def meet(step, i):
        if i == {"read": 2, "work": 1, "write": 0}[step]:  # item 2 is read while 1 is worked on and 0 is written
            together.wait(20)
        assert len(alive) <= 3

    def read(i):
        thing = Thing(i)
        alive.add(thing)
        meet("read", i)
        return thing

    def work(i, thing):
        meet("work", i)
        return thing

    def write(i, thing):
        meet("write", i)
        return i

    assert run(range(6), read=read, work=work, write=write) == [(i, i) for i in range(6)]


def test_what_is_being_written_is_finished_when_the_work_is_interrupted():
    begun, written = threading.Event(), []

    def work(i, thing):
        if i == 1:
            begun.wait(20)
            raise KeyboardInterrupt
        return thing

    def write(i, thing):
        begun.set()
        threading.Event().wait(0.1)
        written.append(i)

    with pytest.raises(KeyboardInterrupt):
        run([0, 1, 2], work=work, write=write)
    assert written == [0]
