"""Inference over images of any size and rank with any callable: sliding windows, test-time flips and scales."""

from densevit.inference.sliding_window import sliding_window
from densevit.inference.views import predict_logits

__all__ = ["predict_logits", "sliding_window"]
