"""What moves between two frames, and label maps moved along with it.

Legend: frame (H, W, 3) uint8, label (H, W) whole numbers, motion (H, W, 2) float32 in pixels (right, down).
"""

import cv2
import numpy as np

STILL = 8  # of 255, by which no colour of a pixel that stands still differs


def find_motion(frame: np.ndarray, before: np.ndarray) -> np.ndarray:
    """How far each pixel of `frame` lies from where it was in the frame before: dense inverse search.

    https://arxiv.org/abs/1603.03590, in OpenCV's medium preset.
    """
    grey, earlier = (cv2.cvtColor(np.ascontiguousarray(each), cv2.COLOR_RGB2GRAY) for each in (frame, before))
    if min(grey.shape) < 16:  # smaller than its patches
        return np.zeros((*grey.shape, 2), np.float32)
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey, earlier, None)


def move_label(label: np.ndarray, motion: np.ndarray, *, nowhere: int) -> np.ndarray:
    """The label map before -> int32 where its pixels are now; `nowhere` for what came in from beyond the border."""
    height, width = label.shape
    column, row = np.meshgrid(np.arange(width), np.arange(height))
    column, row = (np.rint(place + motion[..., i]).astype(np.intp) for i, place in enumerate((column, row)))
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return np.where(inside, label[row.clip(0, height - 1), column.clip(0, width - 1)].astype(np.int32), nowhere)


def stands_still(frame: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Where (H, W) no colour of two frames differs by more than `STILL`."""
    return cv2.absdiff(np.ascontiguousarray(frame), np.ascontiguousarray(before)).max(-1) <= STILL
