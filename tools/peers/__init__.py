"""Peers' packages, made importable where they are installed without their compiled parts; for benchmarks and tests.

Where a peer is absent, SkipTest is raised with the reason: a test is then skipped, a benchmark leaves the peer out.
"""

import sys
import warnings
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from unittest import SkipTest

import torch

_SHIM = []  # keeps torch.library registrations alive


class _NoExtension(ModuleType):
    """Stands for mmcv's compiled operators, which mmcv-lite lacks: any name is a function that raises when called."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def operator(*args, **kwargs):
            raise RuntimeError(f"the operator {name!r} needs a compiled mmcv")

        return operator


def import_mmseg():
    """Return the package `mmseg`, with its models, metrics and structures imported."""
    for name in ("mmseg", "mmcv", "mmengine", "ftfy", "regex"):
        if find_spec(name) is None:
            raise SkipTest(f"mmsegmentation is not usable here: {name} is not installed")
    return _import_mmseg()


@cache
def _import_mmseg():
    if find_spec("torchvision"):
        _import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mmcv

        if find_spec("mmcv._ext") is None:
            stub = _NoExtension("mmcv._ext")
            stub.__spec__ = ModuleSpec("mmcv._ext", loader=None)  # so that mmengine sees that it is not the full mmcv
            sys.modules["mmcv._ext"] = mmcv._ext = stub
        import mmseg.evaluation
        import mmseg.models
        import mmseg.structures
    return mmseg


def import_torchvision_shim():
    """Make `import torchvision` work where its compiled operators do not fit this torch (timm and smp need it)."""
    if find_spec("torchvision") is None:
        raise SkipTest("torchvision is not installed")
    return _import_torchvision()


@cache
def _import_torchvision():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchvision
        except RuntimeError:  # "operator torchvision::nms does not exist": a torchvision built for another torch
            for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
                del sys.modules[name]
            library = torch.library.Library("torchvision", "DEF")
            for name in ("nms", "qnms"):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _SHIM.append(library)
            import torchvision
    return torchvision


def import_peer(name):
    """Import a peer by name, with its import-time warnings silenced; SkipTest where it is not installed."""
    if name in ("timm", "segmentation_models_pytorch", "transformers"):
        import_torchvision_shim()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return import_module(name)
        except ModuleNotFoundError:
            raise SkipTest(f"{name} is not installed") from None
