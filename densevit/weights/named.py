"""Published weights by name: which there are, which is meant, and fetching it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from densevit.backbones import BACKBONES
from densevit.files import sha256 as digest_of
from densevit.quoting import shown
from densevit.registry import check_known
from densevit.weights.families import known_sources
from densevit.weights.files import WEIGHTS
from densevit.weights.origin import Origin, origin_of_path, origin_of_published
from densevit.weights.published import PICKLE, SAFETENSORS, PublishedFile

HUB = "hf:"  # before a repository of the hub that no record knows, then perhaps "@" and a revision


@dataclass(frozen=True)
class Fetched:
    """A file of weights that is on this machine, and what is known of it; None where it has no record.

    With `commercial` it is refused when it is read, unless it is known to permit that.
    """

    path: Path
    origin: Origin | None = None
    commercial: bool = False

    @property
    def name(self) -> str:
        """What it was asked for by."""
        return str(self.path) if self.origin is None else self.origin.name

    def origin_when_read(self, meta: Mapping[str, Any], source: str) -> Origin:
        """That of the record, or what the file says of itself in `meta`; ValueError where it is not allowed."""
        own = origin_of_path(self.path, meta, source)
        if self.origin is None:
            found = own
        elif own.started_from is not None and self.origin.started_from is None:  # one of ours, from the hub
            found = replace(own, **{key: getattr(self.origin, key) for key in ("name", "file", "revision")})
        else:
            found = self.origin if self.origin.source is not None else replace(self.origin, source=source)
        if self.commercial:
            check_commercial(found)
        return found


def known_weights() -> dict[str, PublishedFile]:
    """The published files of all families by name, each with its release and its licence."""
    return dict(_known(len(known_sources())))


@lru_cache(maxsize=1)
def _known(count: int) -> dict[str, PublishedFile]:
    """The same while there are so many sources: `register_family` only adds."""
    return {
        file.name: replace(file, source=source, licence=file.licence or release.licence)
        for source, release in known_sources().items()
        for file in release.files
    }


def list_weights(backbone: str | None = None, *, decoder: str | None = None, commercial: bool = False) -> list[str]:
    """Names of published weights, of all backbones or of one, which `weights=` takes.

    `decoder` leaves those of whole models with it, `commercial` those whose licence, and that of what they started
    from, is known to permit commercial use. An unknown backbone raises KeyError.
    """
    if backbone is not None:
        check_known(backbone, BACKBONES.names(), what="no backbone named", error=KeyError)
    known = known_weights()
    return [
        name
        for name, file in known.items()
        if backbone in (None, file.backbone)
        and decoder in (None, file.decoder)
        and not (commercial and not origin_of_published(file, known).commercial)
    ]


def find_published(name: str, *, backbone: str | None = None, decoder: str | None = None) -> PublishedFile | None:
    """The file called `name`, with or without timm's "timm/", or by its short name for this model; None for none.

    ValueError for a short name ("imagenet") of which this model has no file, or that is asked for without a model.
    """
    known = known_weights()
    if name in known or f"timm/{name}" in known:
        return known.get(name) or known[f"timm/{name}"]
    called = [file for file in known.values() if file.short == name]
    if not called:
        return None
    of_model = [file for file in called if (file.backbone, file.decoder) == (backbone, decoder)]
    if not of_model:
        raise ValueError(_no_short(name, called, backbone, decoder))
    return of_model[0]


def _no_short(name: str, called: list[PublishedFile], backbone: str | None, decoder: str | None) -> str:
    """Why a short name means nothing here."""
    if backbone is None:
        return f"{name!r} is a file for each backbone; give its full name, as `densevit weights list` shows it"
    if decoder is not None and any((file.backbone, file.decoder) == (backbone, None) for file in called):
        return f"{name!r} are weights of the backbone {backbone} alone; give backbone_options=dict(weights={name!r})"
    model = backbone if decoder is None else f"{backbone} + {decoder}"
    others = list_weights(backbone, decoder=decoder)
    rest = f"there are {', '.join(others[:4])}" if others else "none are known"
    return f"no weights called {name!r} are known of {model}; {rest}"


def fetch_weights(
    name: str,
    *,
    revision: str | None = None,
    sha256: str | None = None,
    file: str | None = None,
    commercial: bool = False,
    backbone: str | None = None,
    decoder: str | None = None,
) -> Fetched:
    """The file of published weights, from the cache or else from where it lies, for `load_weights`.

    `name` is one of `list_weights`, a short name such as "imagenet" where `backbone` (and `decoder`) are given, or
    "hf:USER/MODEL" or "hf:USER/MODEL@REVISION" for any other repository of the hub. `revision`, `sha256` (or its first
    digits) and the name of the `file` overrule the record's. With `commercial` weights are refused whose licence, or
    that of what they started from, is not known to permit commercial use.

    Raises FileNotFoundError with the nearest known names for a name that there is not, ConnectionError where it cannot
    be reached, and ValueError for all else that keeps it from being used.
    """
    from densevit.weights.hub import fetch_address, fetch_from_hub  # here, for most weights are files

    found = _unrecorded(name) if name.startswith(HUB) else find_published(name, backbone=backbone, decoder=decoder)
    if found is None:
        raise FileNotFoundError(unknown_name(name))
    origin = origin_of_published(found, known_weights())
    if commercial and found.source is not None:
        check_commercial(origin)
    digest = sha256 or found.sha256
    if found.address is not None:
        if revision or file:
            raise ValueError(f"{name!r} is the file {found.address}; revision and file are for repositories of the hub")
        path = fetch_address(found.address, sha256=digest)
    else:
        files = found.files if file is None else (file,)
        path, commit = fetch_from_hub(found.name.removeprefix(HUB), files, revision=revision or found.revision)
        origin = replace(origin, revision=commit)
    if sha256 or (digest and found.address is None):
        _check_digest(path, digest, of=name)
    return Fetched(path, replace(origin, file=path.name), commercial)


def _unrecorded(name: str) -> PublishedFile:
    """A repository of which nothing is known but where it lies; our own file first."""
    repository, at, revision = name.removeprefix(HUB).partition("@")
    if not repository or (at and not revision):
        raise ValueError(f"expected hf:USER/MODEL or hf:USER/MODEL@REVISION, got {shown(name)}")
    return PublishedFile(
        name=f"{HUB}{repository}",
        backbone="",
        files=(WEIGHTS, SAFETENSORS, PICKLE),
        revision=revision or None,
        normalization=None,
    )


def _check_digest(path: Path, digits: str, *, of: str) -> None:
    """Raise ValueError unless the SHA-256 of a file begins with these digits; `of` is what it was asked for as."""
    if not digest_of(path).startswith(digits.lower()):
        raise ValueError(f"{of} is not the file that was published: its SHA-256 does not begin with {digits} ({path})")


def check_commercial(origin: Origin) -> None:
    """Raise ValueError unless all licences of the chain are known to permit commercial use."""
    if not origin.commercial:
        raise ValueError(
            f"{origin.name} is not allowed with commercial=True: {origin}; `densevit weights list --commercial` shows "
            "those that are"
        )


def locate(asked: str | Path, **choice: Any) -> Fetched:
    """A file or a folder that is there, or else the published weights of that name; `choice` are of `fetch_weights`."""
    path = Path(asked)
    if not str(asked).startswith(HUB) and path.exists():
        unfit = [key for key in ("revision", "file") if choice.get(key) is not None]
        if unfit:
            raise ValueError(f"{path} is a file on this machine; leave out {' and '.join(unfit)}")
        if choice.get("sha256"):
            _check_digest(path, choice["sha256"], of=str(path))
        return Fetched(path, commercial=bool(choice.get("commercial")))
    return fetch_weights(str(asked), **choice)


def unknown_name(name: str) -> str:
    """What is said of a name that neither a file nor a record has."""
    known = known_weights()
    shorts = sorted({file.short for file in known.values() if file.short})
    plain = {each.removeprefix("timm/"): each for each in known}
    near = get_close_matches(name, [*known, *plain, *shorts], n=3, cutoff=0.75)
    nearest = list(dict.fromkeys(plain.get(each, each) for each in near))
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else "`densevit weights list` shows the known ones"
    if "/" in name and not Path(name).suffix and not nearest:
        hint += f", and {HUB}{name} would be any repository of the hub"
    return f"there is no checkpoint at {name}, and no published weights are called so; {hint}"
