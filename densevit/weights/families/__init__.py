"""One file a published family, each with its record in FAMILY.

`known_families()` and `known_sources()` read every file when they are first called; `family_of` reads the one it needs.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from densevit.weights.family import Family, Pair, Release

FILES = tuple(module.name for module in iter_modules(__path__))


@cache
def known_families() -> dict[str, Family]:
    """Every record by the family's name."""
    return {record.name: record for record in map(_record, FILES)}


@cache
def known_sources() -> dict[str, Release]:
    """The releases of all families, named publisher_family."""
    return {name: release for family in known_families().values() for name, release in family.releases.items()}


def register_family(family: Family) -> Family:
    """Add a record, after which its releases load and its models are listed; ValueError for a name that is taken."""
    taken = [name for name, release in family.releases.items() if known_sources().get(name, release) is not release]
    if family.name in known_families() or taken:
        raise ValueError(f"the family or source {(taken or [family.name])[0]!r} is registered twice")
    known_families()[family.name] = family
    known_sources().update(family.releases)
    return family


def family_of(backbone: object) -> Family:
    """The record of a backbone by its name; an empty record for an unknown name."""
    for file in sorted(FILES, key=len, reverse=True):  # swin_unetr before swin
        if str(backbone).startswith(file) and backbone in _record(file).variants:
            return _record(file)
    return next((family for family in known_families().values() if backbone in family.variants), Family(name=""))


def sources_of(backbone: str) -> list[str]:
    """Names of the releases whose weights the backbone loads."""
    releases = family_of(backbone).releases
    return [name for name, release in releases.items() if backbone in (release.variants or (backbone,))]


def list_pairs() -> list[Pair]:
    """The whole models that were published."""
    return [pair for family in known_families().values() for pair in family.pairs]


def published_options(backbone: object, decoder: str) -> dict:
    """Options of the decoder in the model published with this backbone; an empty dictionary if none was published."""
    pairs = family_of(backbone).pairs
    return dict(next((p.decoder_options for p in pairs if (p.backbone, p.decoder) == (backbone, decoder)), {}))


def _record(file: str) -> Family:
    return import_module(f"{__name__}.{file}").FAMILY
