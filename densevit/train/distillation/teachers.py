"""Networks that a student learns from: checkpoints and runs, registered networks, and exported programs."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densevit.checkpoint import Checkpoint, Header, build_classifier, build_model, open_checkpoint
from densevit.classifier import create_classifier
from densevit.environment import ignore_warnings
from densevit.files import replacing, sha256
from densevit.predictor.outputs import model_digest
from densevit.segmentor import Segmentor, create_segmentor
from densevit.train.as_trained import check_prepared_alike

PROGRAMS = (".ts", ".pt2")  # of TorchScript and of torch.export
WHERE = "distillation.teachers"
Given = str | Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """What one teacher gives: logits (B, K) or (B, K, *S'), and the maps of its backbone where they are asked for."""

    logits: Tensor
    features: Sequence[Tensor] = ()


class Teachers:
    """Frozen networks in eval mode: image (B, C, *S) -> what each of them gives. They are no part of the student.

    `header` is that of the student: ValueError for a checkpoint of other classes, axes, channels, or of images that
    were prepared in another way. Of registered networks and programs that is not known, and they are trusted to take
    the student's images. `cache` is a folder for their logits.
    """

    def __init__(self, given: Sequence[Given], header: Header, *, device: torch.device, cache: str | None = None):
        self.num_classes = header.num_classes
        self.networks = [_open(each, header).to(device) for each in given]
        self.caches: list[LogitCache] | None = None
        if cache is not None:
            digests = [_digest(*pair) for pair in zip(given, self.networks, strict=True)]
            self.caches = [LogitCache(Path(cache), digest) for digest in digests]

    @property
    def level_channels(self) -> list[tuple[int, ...]]:
        """Channels of the maps of each one's backbone; ValueError for a program, which does not show them."""
        if not all(isinstance(network, Segmentor) for network in self.networks):
            raise ValueError(f"{WHERE}: an exported program gives logits alone; take the terms with a level out")
        return [tuple(network.backbone.out_channels) for network in self.networks]

    @torch.no_grad()
    def __call__(self, image: Tensor, *, features: bool = False) -> list[Seen]:
        if features:
            return [_see(network, image) for network in self.networks]
        if self.caches is None:
            return [Seen(self._logits(network, image)) for network in self.networks]
        pairs = zip(self.caches, self.networks, strict=True)
        return [Seen(cache(image, lambda few, network=network: self._logits(network, few))) for cache, network in pairs]

    def _logits(self, network: nn.Module, image: Tensor) -> Tensor:
        logits = network.forward_logits(image) if isinstance(network, Segmentor) else network(image)
        if not isinstance(logits, Tensor) or list(logits.shape[1:2]) != [self.num_classes]:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"{WHERE}: one gives {shape}, and logits of {self.num_classes} classes are needed")
        return logits.float()


class LogitCache:
    """Logits of a teacher, in one file an image, found again by the numbers of the image: never those of another.

    Kept or just made, they are rounded to float16. Files that a crash left incomplete are made anew.
    """

    def __init__(self, folder: Path, digest: str):
        self.folder, self.digest = folder / digest[:16], digest

    def __call__(self, image: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
        paths = [self._path(each) for each in image]
        kept = [_read(path) for path in paths]
        missing = [i for i, logits in enumerate(kept) if logits is None]
        if missing:
            made = make(image[missing]).to(torch.float16).cpu().numpy()
            for i, logits in zip(missing, made, strict=True):
                kept[i] = logits
                with replacing(paths[i], durable=False) as aside, open(aside, "wb") as file:
                    np.save(file, logits)
        return torch.from_numpy(np.stack(kept)).to(image.device).float()

    def _path(self, image: Tensor) -> Path:
        kind = image.device.type
        precision = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else image.dtype
        said = f"{self.digest} {precision} {image.dtype} {tuple(image.shape)}"
        found = hashlib.blake2b(said.encode(), digest_size=16)
        found.update(image.detach().cpu().contiguous().numpy().data)
        name = found.hexdigest()
        return self.folder / name[:2] / f"{name}.npy"


def _read(path: Path) -> np.ndarray | None:
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError):
        return None


def _open(given: Given, header: Header) -> nn.Module:
    """A network for the student's images; ValueError that says which one does not fit."""
    create = create_classifier if header.is_of_classifier else create_segmentor
    if isinstance(given, Mapping):
        shape = {key: header.model[key] for key in ("num_classes", "in_channels", "spatial_dims")}
        try:
            made = create(**_renamed(given, header), **shape)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"{WHERE}: {error.args[0]}") from None
        return made.eval().requires_grad_(False)
    if Path(given).suffix in PROGRAMS:
        return _open_program(Path(given))
    try:
        opened = open_checkpoint(given, classifiers=header.is_of_classifier)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{WHERE}: {error}") from None
    _check_fits(opened, header)
    return (build_classifier if header.is_of_classifier else build_model)(opened).requires_grad_(False)


def _renamed(given: Mapping[str, Any], header: Header) -> dict[str, Any]:
    """Keywords of a builder; the name and the options of a classifier's backbone are its own arguments."""
    if not header.is_of_classifier:
        return dict(given)
    given = dict(given)
    options = given.pop("backbone_options", {})
    return {"name": given.pop("backbone", None), **given, **options}


def _check_fits(opened: Checkpoint, header: Header) -> None:
    there, name = opened.header, f"{WHERE}: {opened.path}"
    if there.is_of_classifier != header.is_of_classifier:
        raise ValueError(f"{name} holds a segmentor, and a classifier learns from classifiers; name one")
    for key, what in (("num_classes", "classes"), ("in_channels", "channels"), ("spatial_dims", "spatial dimensions")):
        wanted, found = header.model[key], there.model.get(key, header.model[key])
        if wanted != found:
            raise ValueError(f"{name} has {found} {what} and the student {wanted}; name a teacher with as many")
    if there.classes != header.classes:
        raise ValueError(f"{name} has the classes {there.classes} and the student {header.classes}; give both the same")
    check_prepared_alike(name, there, header)


def _open_program(path: Path) -> nn.Module:
    if not path.is_file():
        raise ValueError(f"{WHERE}: {path} not found")
    try:
        with ignore_warnings():
            if path.suffix == ".ts":
                return torch.jit.load(str(path), map_location="cpu")
            return torch.export.load(path).module()
    except Exception as error:  # whatever is in the file
        raise ValueError(f"{WHERE}: {path} cannot be read ({' '.join(str(error).split())[:200]})") from error


def _see(network: Segmentor, image: Tensor) -> Seen:
    levels = network.forward_levels(image)
    output = network.decoder(levels).classify(network.head)
    return Seen(output.logits().float(), levels[len(levels) - len(network.backbone.out_channels) :])


def _digest(given: Given, network: nn.Module) -> str:
    """Of all that decides what a teacher gives."""
    if isinstance(given, str) and Path(given).suffix in PROGRAMS:
        return sha256(given)
    return model_digest(network, None)
