"""Inference over images of any size and rank with any callable: sliding windows, streamed and planned, and views."""

from importlib import import_module
from typing import Any

from densevit.inference.native import NativeGrid
from densevit.inference.network import accelerate, on_views, on_whole_cells, predict_logits
from densevit.inference.options import ClipOptions, InferenceOptions, SliceOptions
from densevit.inference.plan import WindowPlan, plan_windows
from densevit.inference.sliding_window import sliding_window
from densevit.inference.windows import Placement, Windows

__all__ = [
    "ClipOptions",
    "InferenceOptions",
    "NativeGrid",
    "Placement",
    "SliceOptions",
    "SlidingWindowInferer",
    "WindowPlan",
    "Windows",
    "accelerate",
    "on_views",
    "on_whole_cells",
    "plan_windows",
    "predict_logits",
    "sliding_window",
]


def __getattr__(name: str) -> Any:
    if name != "SlidingWindowInferer":  # alone in needing MONAI, which takes seconds to import
        raise AttributeError(f"module 'densevit.inference' has no attribute {name!r}")
    return import_module("densevit.integrations.monai.window_inferer").SlidingWindowInferer
