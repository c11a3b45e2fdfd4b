"""The one checker of options: a dictionary to a frozen dataclass, or one sentence."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import pytest

from densevit.options import check_bools, check_range, read_options


@dataclass(frozen=True, kw_only=True)
class Head:
    level: int
    weight: float = 0.4


@dataclass(frozen=True, kw_only=True)
class Room:
    size: tuple[int, int]
    name: str = "room"
    scales: tuple[float, ...] = (1.0,)
    mode: Literal["whole", "slide"] = "whole"
    doors: list[Head] = field(default_factory=list)
    main: Head = field(default_factory=lambda: Head(level=0))
    weights: tuple[float, ...] | Literal["halving"] | None = None
    flips: Sequence[Any] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    open: bool = False
    path: str | None = None

    def __post_init__(self) -> None:
        check_range(self, ["size"], least=(1, 1), most=(9, 9))


def test_lists_become_tuples_numbers_floats_and_dicts_dataclasses():
    room = read_options(Room, dict(size=[1, 2], scales=[1, 2.5], doors=[dict(level=3, weight=1)], path=Path("a/b")))
    assert room == Room(size=(1, 2), scales=(1.0, 2.5), doors=[Head(level=3, weight=1.0)], path="a/b")
    assert isinstance(room.scales[0], float)
    assert isinstance(room.doors[0].weight, float)


def test_what_was_read_once_is_passed_on():
    room = read_options(Room, dict(size=(1, 2)))
    assert read_options(Room, room) is room


def test_what_was_read_does_not_change_with_what_was_written():
    given = dict(size=(1, 2), more=dict(inner=[1]))
    room = read_options(Room, given)
    given["more"]["inner"].append(2)
    assert room.more == dict(inner=[1])


@pytest.mark.parametrize("weights", [(1.0, 0.5), "halving", None])
def test_any_choice_of_a_union_fits(weights):
    assert read_options(Room, dict(size=(1, 2), weights=weights)).weights == weights


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (3, "inference must be a dict, got 3"),
        ({}, "the key 'inference.size' is missing: it must be 2 whole numbers"),
        (dict(size=(1, 2), scale=1), "unknown key 'inference.scale'; did you mean scales?"),
        (dict(size=(1, 2, 3)), "inference.size must be 2 whole numbers, got (1, 2, 3)"),
        (dict(size=(1, 2.0)), "inference.size.1 must be a whole number, got 2.0"),
        (dict(size=(1, True)), "inference.size.1 must be a whole number, got True"),
        (dict(size=(1, 2), name=3), "inference.name must be text, got 3"),
        (dict(size=(1, 2), scales=1.0), "inference.scales must be a list of numbers, got 1.0"),
        (dict(size=(1, 2), mode="hole"), "inference.mode must be 'whole' or 'slide', got 'hole'"),
        (dict(size=(1, 2), open=1), "inference.open must be True or False, got 1"),
        (dict(size=(1, 2), main=dict(lvel=1)), "unknown key 'inference.main.lvel'; did you mean level?"),
        (dict(size=(1, 2), doors=[dict(level="x")]), "inference.doors.0.level must be a whole number, got 'x'"),
        (dict(size=(1, 2), weights="third"), "inference.weights must be a list of numbers or 'halving' or None, got"),
        (dict(size=(1, 2), weights=(1, "a")), "inference.weights.1 must be a number, got 'a'"),
        (dict(size=(0, 2)), "inference.size must be from (1, 1) to (9, 9), got (0, 2)"),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence_with_its_dotted_name(given, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        read_options(Room, given, where="inference")


@pytest.mark.parametrize(
    ("key", "value"), [("count", True), ("sizes", (2, False)), ("plain", True), ("several", [1, True])]
)
def test_true_and_false_are_no_numbers(key, value):
    def builder(
        *, count: int, sizes: Sequence[int] | int = 3, plain=2, several=(1, 2), switch: bool | int = 0, act=None
    ):
        """Takes numbers by its types, and by its defaults."""

    takes = signature(builder).parameters
    check_bools(takes, dict(count=1, sizes=[1, 2], switch=True, act=("relu", {"inplace": True}), unknown=True))
    with pytest.raises(ValueError, match=f"^model.{key} must be numbers, got "):
        check_bools(takes, {key: value}, where="model.")


def test_what_lies_too_deep_is_one_sentence_wherever_options_come_from():
    @dataclass(frozen=True)
    class Anything:
        options: dict

    deep = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ValueError, match=r"^model holds lists or dicts too deep in one another$"):
        read_options(Anything, dict(options=dict(size=deep)), where="model")
