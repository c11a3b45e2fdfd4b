"""Inference over images of any size and rank with any callable: sliding windows, test-time flips and scales."""

from densevit.inference.sliding_window import sliding_window
from densevit.inference.views import on_whole_cells, predict_logits

__all__ = ["on_whole_cells", "predict_logits", "sliding_window"]
