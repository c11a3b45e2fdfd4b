"""Where weights come from, and under which licences: said when they are loaded, kept by what is trained of them."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from densevit.weights.published import COMMERCIAL, PublishedFile

logger = logging.getLogger("densevit")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A file of weights: `name` is what it was asked for by, `started_from` what its own training began with.

    None stands for what is not known; of files without a name that is all but the file and the key map. An empty
    `started_from` says that training began with nothing, as our own files do.
    """

    name: str
    file: str | None = None
    revision: str | None = None
    source: str | None = None  # the key map by which it was read
    licence: str | None = None
    trained_on: str | None = None
    normalization: Mapping[str, Any] | None = None
    started_from: tuple["Origin", ...] | None = None

    @property
    def commercial(self) -> bool | None:
        """Whether the licences of the whole chain permit commercial use; None where one of them is not known."""
        own = COMMERCIAL.get(self.licence or "")
        if self.licence is None and self.started_from is not None and self.source == "densevit":
            own = True  # its licence is for whoever trained it to say; what it began with binds it
        found = [own, *(each.commercial for each in self.started_from or ())]
        return False if False in found else None if None in found else True

    def __str__(self) -> str:
        """In words, the chain included."""
        said = {True: "permits commercial use", False: "does not permit commercial use"}
        verdict = said.get(self.commercial, "may not permit commercial use, as far as is known here")
        licence = "no licence that is known here" if self.licence is None else f"licence {self.licence}"
        chain = "".join(f", started from {each.name} ({each.licence or 'no licence known'})" for each in self.chain())
        return f"{licence}{chain}, {verdict}" + (f"; trained on {self.trained_on}" if self.trained_on else "")

    def chain(self) -> Iterator["Origin"]:
        """What it began with, what that began with, and so on."""
        for each in self.started_from or ():
            yield each
            yield from each.chain()

    def as_dict(self) -> dict[str, Any]:
        """For a header: what is known, and whether all of it permits commercial use."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.started_from is not None:
            said["started_from"] = [each.as_dict() for each in self.started_from]
        known = {key: value for key, value in said.items() if value is not None}
        return {**known, "commercial": self.commercial}

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> "Origin":
        """What `as_dict` gave; what is of another version is left out."""
        known = {field.name: said[field.name] for field in fields(cls) if field.name in said}
        if "started_from" in known:
            known["started_from"] = read_origins(known["started_from"])
        return cls(**{"name": "unnamed", **known})


def read_origins(said: Any) -> tuple[Origin, ...] | None:
    """Those of a header's `started_from`; None where it says nothing that is understood."""
    if not isinstance(said, Sequence) or not all(isinstance(each, Mapping) for each in said):
        return None
    return tuple(map(Origin.read, said))


def tell_origins(said: Any) -> str | None:
    """What a header's `started_from` says, in words: names with their licences; None where it says nothing."""
    begun = read_origins(said)
    return None if begun is None else "; ".join(f"{each.name}: {each}" for each in begun) or "nothing"


def origin_of_published(file: PublishedFile, known: Mapping[str, PublishedFile]) -> Origin:
    """That of a published file, without what only fetching tells."""
    begun = known.get(file.started_from or "")
    return Origin(
        name=file.name,
        source=file.source,
        licence=file.licence,
        trained_on=file.trained_on,
        normalization=file.normalization,
        started_from=None if begun is None else (origin_of_published(begun, known),),
    )


def origin_of_path(path: Path, meta: Mapping[str, Any], source: str) -> Origin:
    """That of a file on disk, which says what it is only where it is one of ours."""
    begun = read_origins(meta.get("started_from")) if source == "densevit" else None
    said = meta.get("normalization") if source == "densevit" else None
    normalization = said if isinstance(said, Mapping) and "type" in said else None  # older files say no type
    return Origin(name=path.name, source=source, normalization=normalization, started_from=begun)


def say_licence(origin: Origin) -> None:
    """One line in the log for weights whose licence matters: a warning where it may not permit commercial use."""
    if origin.licence is not None or origin.started_from:
        logger.log(logging.INFO if origin.commercial else logging.WARNING, "%s: %s", origin.name, origin)
