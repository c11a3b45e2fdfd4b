"""One file a published family, each with its record in FAMILY; importing this package registers every file in it."""

from importlib import import_module
from pkgutil import iter_modules

from densevit.weights.family import Family, Pair, Release

FAMILIES: dict[str, Family] = {}
SOURCES: dict[str, Release] = {}  # the releases of all families, named publisher_family


def register_family(family: Family) -> Family:
    """Add a record, after which its releases load and its models are listed; ValueError for a name that is taken."""
    taken = [name for name, release in family.releases.items() if SOURCES.get(name, release) is not release]
    if family.name in FAMILIES or taken:
        raise ValueError(f"the family or source {(taken or [family.name])[0]!r} is registered twice")
    FAMILIES[family.name] = family
    SOURCES.update(family.releases)
    return family


def family_of(backbone: object) -> Family:
    """The record of a backbone by its name; an empty one where there is none."""
    return next((family for family in FAMILIES.values() if backbone in family.variants), Family(name=""))


def sources_of(backbone: str) -> list[str]:
    """Names of the releases whose weights the backbone loads."""
    releases = family_of(backbone).releases
    return [name for name, release in releases.items() if backbone in (release.variants or (backbone,))]


def list_pairs() -> list[Pair]:
    """The whole models that were published."""
    return [pair for family in FAMILIES.values() for pair in family.pairs]


def published_options(backbone: object, decoder: str) -> dict:
    """Options of the decoder in the model that was published with this backbone; none where there is no such model."""
    pairs = family_of(backbone).pairs
    return dict(next((p.decoder_options for p in pairs if (p.backbone, p.decoder) == (backbone, decoder)), {}))


for _module in iter_modules(__path__):
    register_family(import_module(f"{__name__}.{_module.name}").FAMILY)
