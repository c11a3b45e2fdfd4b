"""Which weights file is meant, reading it once, and writing it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from densevit.backbones.class_heads import HEADS
from densevit.checkpoint.header import Header
from densevit.classifier import Classifier, FeatureModel, create_classifier
from densevit.clip import Clip, create_clip
from densevit.segmentor import Segmentor, create_backbone, create_segmentor
from densevit.weights import find_broken, load_weights, read_weights, save_weights
from densevit.weights.files import find_weights

Built = TypeVar("Built", Segmentor, Classifier, Clip, FeatureModel)
# Options that name weights to begin with.
PRETRAINED = ("weights", "pretrained", "init_cfg", "encoder_weights", "use_pretrained_backbone")
FEATURES_ONLY = "features_only"
# What a file may hold that is no segmentor, by a key of its model's description, and what is done with it.
OTHER_KINDS = {
    "text": (
        "a CLIP, which has no classes of its own; name some: --classes road,car on the command line, "
        "densevit.create_zero_shot_segmentor in Python"
    ),
    "class_head": (
        "a classifier, which says what an image shows and not where; build it with densevit.create_classifier, or "
        "train a segmentor that starts from its backbone"
    ),
    FEATURES_ONLY: (
        "a backbone alone, which knows no classes; train a segmentor or a classifier that starts from it, by "
        "model.backbone_options.weights"
    ),
}
LARGEST = 4096  # a number in a model's description that is never refused, such as the size of an image


@dataclass(frozen=True)
class Checkpoint:
    """A weights file that was read: what its header says, its tensors by name, and where it lies."""

    header: Header
    tensors: dict[str, Tensor]
    path: Path


def open_checkpoint(
    checkpoint: "str | Path | Checkpoint", *, classifiers: bool = False, backbones: bool = False
) -> Checkpoint:
    """Read a weights file: itself, the one of a folder, or the best (else the last) one of a run's folder.

    What was opened before is returned as it is. Raises FileNotFoundError where there is none, and ValueError for a
    file that is damaged or of another kind, or of a classifier where `classifiers` are not asked for, or of a backbone
    alone where `backbones` are not.
    """
    if isinstance(checkpoint, Checkpoint):
        return checkpoint
    path = find_weights(checkpoint)
    tensors, content = read_weights(path)
    header = Header.read(content, path)
    kind = next((key for key in OTHER_KINDS if key in header.model), None)
    if kind is not None and not (backbones if kind == FEATURES_ONLY else classifiers):
        raise ValueError(f"{path} holds {OTHER_KINDS[kind]}")
    return Checkpoint(header, tensors, path)


def build_model(checkpoint: Checkpoint) -> Segmentor:
    """The model that a checkpoint describes, with its weights, on the CPU and in eval mode.

    Nothing is read or fetched but the checkpoint. ValueError for a description that no model can be built from: modules
    of one's own are imported by whoever trusts them.
    """
    return _build(checkpoint, create_segmentor)


def build_classifier(checkpoint: Checkpoint) -> Classifier:
    """The same of a classifier."""
    return _build(checkpoint, _create_classifier)


def build_clip(checkpoint: Checkpoint) -> Clip:
    """The same of a CLIP."""
    return _build(checkpoint, _create_clip)


def _create_clip(
    *,
    backbone: str,
    num_classes: int,
    text: Mapping[str, Any],
    class_head: str | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Clip:
    return create_clip(backbone, width=num_classes, text=text, **options, **(backbone_options or {}))


def build_backbone(checkpoint: Checkpoint) -> FeatureModel:
    """The same of a backbone alone."""
    return _build(checkpoint, _create_features)


def _create_features(
    *,
    backbone: str,
    num_classes: int,
    features_only: bool,
    backbone_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> FeatureModel:
    return FeatureModel(create_backbone(backbone, **options, **(backbone_options or {})))


def _create_classifier(
    *,
    backbone: str,
    class_head: str | None,
    backbone_options: Mapping[str, Any] | None = None,
    text: Mapping[str, Any] | None = None,
    **options: Any,
) -> Classifier:
    """As a header says it: a head that is none of those for every backbone is that of the family. Of a CLIP it is the
    encoder of images."""
    head = class_head if class_head in HEADS else None
    given = {key: value for key, value in options.items() if key != "head_options" or head is not None}
    return create_classifier(backbone, head=head, **given, **(backbone_options or {}))


def _build(checkpoint: Checkpoint, create: Callable[..., Built]) -> Built:
    header, tensors, path = checkpoint.header, checkpoint.tensors, checkpoint.path
    description = without_weights(header.model)
    try:
        _check_sizes(description, most=max([LARGEST, *(n for tensor in tensors.values() for n in tensor.shape)]))
        model = create(**description)
    except (ImportError, OSError):
        raise
    except Exception as error:  # the options of a builder can be wrong in any way
        reason = " ".join(str(error.args[0] if error.args else type(error).__name__).split())
        imports, advice = header.more.get("custom_imports"), "train or convert it anew"
        if imports:
            advice = f"it was trained with custom_imports {imports}: import these first, or give the command "
            advice += "--custom-imports MODULE"
        raise ValueError(f"{path} describes a model that cannot be built: {reason}; {advice}") from error
    own, broken = model.state_dict(), find_broken(tensors)
    if broken:
        raise ValueError(f"{path} cannot be used: {broken}")
    if own.keys() == tensors.keys() and all(own[name].shape == tensor.shape for name, tensor in tensors.items()):
        model.load_state_dict(tensors)
    else:
        load_weights(model, checkpoint.path, state=tensors, source="densevit")  # which says what does not fit
    return model.eval()


def _check_sizes(value: Any, *, most: int, where: str = "model") -> None:
    """Refuse numbers larger than anything in the file: such a model would fill the memory or never be ready."""
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, item in inner:
        _check_sizes(item, most=most, where=f"{where}.{key}")
    if isinstance(value, int | float) and not abs(value) <= most:
        raise ValueError(f"{where} is {value}, and nothing among its weights is as large")


def write_checkpoint(path: str | Path, model_or_state: nn.Module | Mapping[str, Tensor], header: Header) -> None:
    """Write weights with their header; an existing file survives any failure, see `save_weights`."""
    save_weights(model_or_state, path, config=header.as_dict())


def without_weights(description: Mapping[str, Any]) -> dict[str, Any]:
    """A model's description without what asks for pretrained weights, in whose place a checkpoint's come.

    Such weights are files, or in networks of other packages (`pretrained=True`) fetched from the network.
    """
    return {
        key: without_weights(value) if isinstance(value, Mapping) else value
        for key, value in description.items()
        if key not in PRETRAINED
    }
