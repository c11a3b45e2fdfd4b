"""What is fuzzed: small valid files, the function that reads them, and what may be told of a damaged one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from tools.fuzzing.mutations import mutate_bytes

Mutate = Callable[[bytes, Generator], bytes]
# Beside the damaged content, whether a checksum in it should have told the damage.
Damage = tuple[bytes, bool]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A valid file at `path`, and `read`, which gives what it holds as arrays or plain values.

    `rewrite` damages what a checksum protects and makes the checksum anew. With `checksum` every other damage that
    changes what is read should be refused. `allowed` are the values that a label may hold. A refusal says the file's
    name where it is `named`.
    """

    path: Path
    read: Callable[[], Any]
    checksum: bool = False
    rewrite: Mutate | None = None
    allowed: frozenset[int] | None = None
    named: bool = True

    def damage(self, content: bytes, rng: Generator) -> Damage:
        """The content damaged, as it is or with its checksums made anew."""
        if self.rewrite is not None and rng.random() < 0.6:
            return self.rewrite(content, rng), False
        return mutate_bytes(content, rng), self.checksum


Kind = Callable[[Path], list[Sample]]  # makes the samples of a kind in a folder


def is_equal(one: Any, other: Any) -> bool:
    """Whether two things that were read are the same, arrays by their types and values."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        alike = isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and one.dtype == other.dtype
        return alike and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_equal, one, other))
    return type(one) is type(other) and one == other
