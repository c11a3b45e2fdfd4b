"""Dense prediction with transformers, in 2D and 3D: a backbone gives feature maps, a decoder turns them into logits.

Public names are imported on first use, so that `import densevit` costs almost nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# In the order of docs/tour.md.
_HOMES = {
    "Segmentor": "segmentor",
    "create_segmentor": "segmentor",
    "Classifier": "classifier",
    "create_classifier": "classifier",
    "Clip": "clip",
    "create_clip": "clip",
    "create_backbone": "segmentor",
    "create_decoder": "segmentor",
    "list_backbones": "segmentor",
    "list_decoders": "segmentor",
    "register_backbone": "registry",
    "register_decoder": "registry",
    "load_weights": "weights",
    "list_weights": "weights",
    "fetch_weights": "weights",
    "sliding_window": "inference",
    "ConfusionMatrix": "metrics",
    "Predictor": "predictor",
    "predict": "predictor",
    "ClassPredictor": "predictor.classes",
    "save_pretrained": "sharing",
    "from_pretrained": "sharing",
    "push_to_hub": "sharing",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'densevit' has no attribute {name!r}")
    value = getattr(import_module(f"densevit.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
