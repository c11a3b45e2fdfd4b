"""Whether images are prepared as they were when a checkpoint was trained; what it says of others means nothing."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from operator import eq
from pathlib import Path
from typing import Any

import numpy as np

from densevit.checkpoint import Header
from densevit.data.volume_set import SPACING_TOLERANCE
from densevit.normalization import create_normalization
from densevit.weights import read_config


def _same_normalization(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whatever is written out, and whatever is left to its default."""
    first, second = (json.loads(json.dumps(asdict(create_normalization(each)))) for each in (wanted, found))
    return wanted["type"] == found["type"] and first == second


def _same_spacing(wanted: Sequence[float], found: Sequence[float] | None) -> bool:
    return found is not None and np.allclose(wanted, found, rtol=SPACING_TOLERANCE, atol=0)


PREPARED: dict[str, Callable[[Any, Any], bool]] = {
    "normalization": _same_normalization,
    "spacing": _same_spacing,
    "slices": lambda wanted, found: found is not None and (wanted.dim, wanted.count) == (found.dim, found.count),
    "exif": eq,
}


def check_as_trained(weights: Path, here: Header) -> None:
    """ValueError where a weights file says that images were prepared otherwise than they are here.

    Other projects' files, and those that do not say how, pass.
    """
    content = read_config(weights) if weights.suffix == ".safetensors" else None
    if content and "model" in content:
        said = [key for key in PREPARED if content.get(key) is not None]
        check_prepared_alike(weights, Header.read(content, weights), here, keys=said)


def check_prepared_alike(name: object, there: Header, here: Any, *, keys: Iterable[str] = PREPARED) -> None:
    """The same of a header, which `name` has, and of another header or a data set; None there is not compared."""
    if there.scans is not None:
        raise ValueError(
            f"{name} sees scans turned, cut out and resampled as another program did, which data sets of a config are "
            "not; write its label maps by `densevit predict`, and compare these by `densevit evaluate`"
        )
    for key in keys:
        wanted, found = getattr(there, key), getattr(here, key, None)
        if wanted is not None and not PREPARED[key](wanted, found):
            raise ValueError(
                f"{name} was trained with {key} {wanted!r}, but the data set of this config has {found!r}; "
                f"give that set the same {key}"
            )
