"""Photos to network input: subtract the mean and divide by the deviation of ImageNet's colours."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

MEAN = (123.675, 116.28, 103.53)  # RGB, 0 to 255
STD = (58.395, 57.12, 57.375)


def normalize_image(image: np.ndarray, *, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """uint8 RGB (H, W, 3) -> float32 (3, H, W)."""
    if image.ndim != 3 or image.shape[2] != len(mean):
        raise ValueError(f"expected an image (H, W, {len(mean)}), got shape {image.shape}")
    planes = torch.from_numpy(image.transpose(2, 0, 1).copy()).float()
    return planes.sub_(torch.tensor(mean).view(-1, 1, 1)).div_(torch.tensor(std).view(-1, 1, 1))
