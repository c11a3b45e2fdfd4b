"""A folder of nnU-Net's results, TRAINER__PLANS__CONFIGURATION, made into one checkpoint of ours.

All folds go into one file: the mean of their logits in each window is the mean of their blended logits, so that images
are read, resampled and written once. https://doi.org/10.1038/s41592-020-01008-z
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from densevit.checkpoint import WEIGHTS, Header, write_checkpoint
from densevit.integrations.nnunet.architecture import describe_model
from densevit.integrations.nnunet.plans import Configuration, read_description, read_plans
from densevit.integrations.nnunet.preparation import inference, normalization, scan_options, slices
from densevit.integrations.whole import load_exactly
from densevit.segmentor import create_segmentor
from densevit.volumes.modality import modality_of_name
from densevit.weights import find_broken, load_weights
from densevit.weights.pickles import read_pickle

FOLD = re.compile(r"fold_(\d+|all)")
# Second names of parameters in nnU-Net's networks, which hold nothing of their own.
SECOND_NAMES = re.compile(r"\.all_modules\.|^decoder\.encoder\.")


@dataclass(frozen=True)
class Fold:
    """What a checkpoint of nnU-Net says that prediction needs."""

    path: Path
    weights: Mapping[str, Tensor]
    configuration: str
    trainer: str
    mirrored: tuple[int, ...]


def import_nnunet(
    folder: str | Path,
    output: str | Path,
    *,
    folds: Sequence[str | int] | None = None,
    checkpoint: str = "final",
    axes: str | None = None,
) -> Path:
    """Write OUTPUT/weights.safetensors of the `folds` (all that are there by default) of a folder of nnU-Net's results.

    `checkpoint` is "final" or "best". `axes` is "file" or "standard" in the place of what the plans' reader of images
    says: TotalSegmentator's models were trained on scans turned to standard axes before nnU-Net read them. Nothing of
    the files is run. Raises FileNotFoundError for what is not there, and ValueError in one sentence for what is damaged
    or of a kind that is not known here.
    """
    folder = Path(folder)
    plans, description = _read(folder)
    read = [_read_fold(path) for path in _find_folds(folder, folds, f"checkpoint_{checkpoint}.pth")]
    first = _check_alike(read)
    configuration = plans.configuration(first.configuration)
    _check_single_stage(configuration)
    channels = len(description.channels)
    model = describe_model(
        configuration,
        in_channels=channels,
        num_classes=len(description.classes),
        num_folds=len(read),
        trainer=first.trainer,
        regions=description.regions,
    )
    modality = tuple(map(modality_of_name, description.channels))
    header = Header(
        model=model,
        classes=description.classes,
        label_values=description.values,
        inference=inference(configuration, first.mirrored, overlapping=description.regions),
        normalization=normalization(plans, configuration, channels=channels),
        scans=scan_options(plans, configuration, axes=axes),
        slices=slices(configuration),
        modality=modality if any(modality) else None,
        more=dict(nnunet=_origin(plans.content, first, read)),
    )
    network = create_segmentor(**model)
    if model["decoder"] is None:
        inner = network.backbone.network
        inner = inner.network if description.regions else inner
        for fold, target in zip(read, [inner] if len(read) == 1 else inner.folds, strict=True):
            way = f"the plans; its trainer {fold.trainer} may have changed it, which is not known here"
            load_exactly(target, fold.weights, path=fold.path, said_by="plans.json", way=way)
    else:
        load_weights(network, first.path, state=first.weights)
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    write_checkpoint(output / WEIGHTS, network, header)
    return output / WEIGHTS


def _read(folder: Path) -> tuple[Any, Any]:
    """The plans and the description of the data set that lie in a folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}; give one such as nnUNetTrainer__nnUNetPlans__3d_fullres")
    for name in ("plans.json", "dataset.json"):
        if not (folder / name).is_file():
            inside = sorted(each.name for each in folder.glob("*__*__*") if each.is_dir())
            older = (folder / "plans.pkl").is_file()
            way = (
                f"give one of its folders: {', '.join(inside)}"
                if inside
                else "give the folder that nnUNetv2_train wrote"
            )
            way = "it is of nnU-Net's first version, which is not read" if older else way
            raise FileNotFoundError(f"{folder} has no {name}; {way}")
    return read_plans(folder / "plans.json"), read_description(folder / "dataset.json")


def _find_folds(folder: Path, folds: Sequence[str | int] | None, name: str) -> list[Path]:
    """The checkpoints of the folds that are asked for; by default of all there, without "all" among others."""
    there = {found[1]: path for path in sorted(folder.glob("fold_*")) if (found := FOLD.fullmatch(path.name))}
    numbered = [fold for fold in there if fold != "all"]
    asked = (numbered or list(there)) if folds is None else list(map(str, folds))
    missing = [fold for fold in asked if fold not in there]
    if missing or not asked:
        known = ", ".join(there) or "none"
        raise FileNotFoundError(
            f"{folder} has no fold {missing[0] if missing else ''}".rstrip() + f"; there are {known}"
        )
    for fold in asked:
        if not (there[fold] / name).is_file():
            others = sorted(path.name for path in there[fold].glob("checkpoint_*.pth"))
            way = f"there is {' and '.join(others)}" if others else "its training wrote none"
            raise FileNotFoundError(f"{there[fold]} has no {name}; {way}")
    return [there[fold] / name for fold in asked]


def _read_fold(path: Path) -> Fold:
    """One checkpoint; no code of it runs, and its optimizer and its log are left out."""
    content = read_pickle(path)
    if not isinstance(content, dict) or not isinstance(content.get("network_weights"), dict):
        raise ValueError(f"{path} holds no network_weights, and is no checkpoint of nnU-Net's second version")
    said = content.get("init_args")
    configuration = said.get("configuration") if isinstance(said, dict) else None
    mirrored = content.get("inference_allowed_mirroring_axes")
    mirrored = tuple(mirrored) if isinstance(mirrored, list | tuple) else ()
    if not isinstance(configuration, str) or not all(type(axis) is int and 0 <= axis < 3 for axis in mirrored):
        raise ValueError(f"{path} does not say its configuration, or mirrors axes {mirrored}; is it of nnU-Net?")
    weights = {
        name: tensor
        for name, tensor in content["network_weights"].items()
        if isinstance(tensor, Tensor) and not SECOND_NAMES.search(name)
    }
    broken = find_broken(weights)
    if broken:
        raise ValueError(f"{path} cannot be used: {broken}")
    return Fold(path, weights, configuration, str(content.get("trainer_name")), mirrored)


def _check_alike(folds: Sequence[Fold]) -> Fold:
    """The first; ValueError where another fold is of another configuration or trainer."""
    first = folds[0]
    for other in folds[1:]:
        for key in ("configuration", "trainer", "mirrored"):
            one, two = getattr(first, key), getattr(other, key)
            if one != two:
                raise ValueError(f"{first.path} and {other.path} differ in {key}, {one} and {two}; import one of them")
    return first


def _check_single_stage(configuration: Configuration) -> None:
    previous = configuration.content.get("previous_stage")
    if previous is not None:
        raise ValueError(
            f"{configuration.path}: configurations.{configuration.name} sees the label maps of {previous} beside the "
            f"image, and a checkpoint holds one network; import the folder of {previous} or 3d_fullres"
        )


def _origin(plans: Mapping[str, Any], first: Fold, folds: Sequence[Fold]) -> dict[str, Any]:
    """Where the weights come from, for whoever reads the header."""
    return dict(
        dataset=str(plans.get("dataset_name")),
        plans=str(plans.get("plans_name")),
        configuration=first.configuration,
        trainer=first.trainer,
        folds=[fold.path.parent.name.removeprefix("fold_") for fold in folds],
        checkpoint=first.path.name,
    )
