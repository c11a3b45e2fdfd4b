"""Class numbers and class names, of pictures and volumes alike."""

from collections.abc import Sequence

import numpy as np

from densevit.quoting import shown

MOST_VALUE = 2**31 - 1  # of a class in label files
IGNORE = 255  # the ignored class in every label that leaves densevit.data


def label_type(num_classes: int) -> np.dtype:
    """The smallest unsigned type that holds class numbers from 0 to num_classes; with 256 classes it is uint16 already,
    because 255 in a label of bytes means `IGNORE`.
    """
    return np.min_scalar_type(num_classes)


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """The class names as a tuple; none, an empty or a repeated name raises ValueError."""
    listed = isinstance(classes, list | tuple) and len(classes) > 0
    if not listed or not all(isinstance(name, str) and name.strip() for name in classes):
        raise ValueError(f"classes must be a list of names, got {shown(classes)}")
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise ValueError(f"the classes name {', '.join(twice)} more than once; each name may appear once")
    return tuple(classes)
