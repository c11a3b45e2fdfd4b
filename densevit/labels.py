"""Class numbers in label maps, of pictures and volumes alike."""

import numpy as np

IGNORE = 255  # the ignored class in every label that leaves densevit.data


def label_type(num_classes: int) -> np.dtype:
    """The smallest unsigned type that holds class numbers from 0 to num_classes; with 256 classes it is uint16 already,
    because 255 in a label of bytes means `IGNORE`.
    """
    return np.min_scalar_type(num_classes)
