"""How a bundle's network sees scans and what becomes of its logits, as sections of our header."""

import logging
from collections.abc import Sequence
from typing import Any, Literal

from densevit.inference import InferenceOptions
from densevit.integrations.monai_bundle.config import Component

logger = logging.getLogger("densevit")
WINDOWS = ("SlidingWindowInferer", "SlidingWindowInfererAdapt")
MODES = dict(constant="slide_monai", gaussian="slide_monai_gaussian")
IN_COMMAND = dict(KeepLargestConnectedComponent="--largest-component", FillHoles="--fill-holes")
WITHOUT_EFFECT = ("CopyItems", "DeleteItems", "EnsureType", "SaveImage", "SelectItems", "ToDevice", "ToTensor")


def read_inferer(inferer: Component) -> InferenceOptions:
    """Windows on MONAI's grid, or the whole scan; ValueError for an inferer that sees scans in another way."""
    if inferer.name == "SimpleInferer":
        return InferenceOptions(sides=())
    if inferer.name not in WINDOWS:
        raise inferer.refuse(f"and {', '.join((*WINDOWS, 'SimpleInferer'))} are known here; predict it with MONAI")
    inferer.only(padding_mode="constant", cval=(0.0, 0), sigma_scale=0.125, with_coord=False, mode=tuple(MODES))
    roi_size, overlap = inferer.get("roi_size"), inferer.get("overlap", 0.25)
    sizes = roi_size if isinstance(roi_size, list) else [roi_size] * 3
    overlaps = overlap if isinstance(overlap, list) else [overlap] * 3
    if len(sizes) != 3 or not all(type(size) is int and size >= 1 for size in sizes):
        raise inferer.refuse(f"whose roi_size is {roi_size!r}, and voxels along three axes are expected")
    if len(overlaps) != 3 or not all(isinstance(part, int | float) and 0 <= part < 1 for part in overlaps):
        raise inferer.refuse(f"whose overlap is {overlap!r}, and a part of roi_size from 0 to below 1 is expected")
    batch_size = inferer.get("sw_batch_size", 1)
    return InferenceOptions(
        mode=MODES[inferer.get("mode", "constant")],
        roi_size=tuple(sizes),
        stride=tuple(max(1, int(size * (1 - part))) for size, part in zip(sizes, overlaps, strict=True)),
        batch_size=batch_size if type(batch_size) is int and batch_size >= 1 else 1,
        sides=(),  # no views are mirrored
    )


def read_postprocessing(transforms: Sequence[Component], *, spaced: bool) -> Literal["logits", "probabilities"]:
    """What goes back to a scan's own grid before it becomes labels; ValueError that names a transform that makes other
    things than one class a voxel, and warnings of what the checkpoint leaves to the command.
    """
    names = [transform.transform for transform in transforms]
    restored: Literal["logits", "probabilities"] = "logits"
    for transform in transforms:
        name = transform.transform
        if name in IN_COMMAND:
            logger.warning("%s is not kept in a checkpoint; give densevit predict %s", transform.name, IN_COMMAND[name])
        elif name == "Activations":
            if _of_prediction(transform, "sigmoid") or transform.get("other") is not None:
                raise transform.refuse(
                    "by which each channel is a mask of its own, and label maps hold one class a voxel; predict it "
                    "with MONAI"
                )
            restored = "probabilities" if _of_prediction(transform, "softmax") else restored
        elif name == "AsDiscrete":
            if not _of_prediction(transform, "argmax"):
                raise transform.refuse(
                    "without argmax, and label maps hold the most probable class of a voxel; predict it with MONAI"
                )
        elif name == "Invert":
            of_labels = "AsDiscrete" in names[: transforms.index(transform)]
            if spaced and (of_labels or _of_prediction(transform, "nearest_interp", True)):
                logger.warning(
                    "the bundle takes the nearest of its voxels for each of a scan's; here probabilities are "
                    "interpolated, and borders differ by less than one of its voxels"
                )
                restored = "probabilities"
        elif name not in WITHOUT_EFFECT:
            raise transform.refuse("which is not known here, after the network; predict it with MONAI")
    if "AsDiscrete" not in names:
        logger.warning(
            "the bundle writes what its network gives; label maps of the most probable class are written here"
        )
    if spaced and "Invert" not in names:
        logger.warning(
            "the bundle has no Invertd, and its masks have other voxels than its scans; here they have the same"
        )
        restored = "logits"
    return restored


def _of_prediction(transform: Component, key: str, default: Any = False) -> Any:
    """An argument of a transform of one key or several, of which the prediction is the first."""
    given = transform.get(key, default)
    return given[0] if isinstance(given, list) and given else given
