"""List the models: size, cost, what each was proven against and to what error, which official weights load.

Parameters are counted here and now; the other numbers were measured by tools/model_table.py, on the machine that
docs/models.md names.
"""

import argparse
import json
import sys
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from densevit.files import write_text

MEASURED = Path(__file__).with_name("measured.json")
SIZES = {2: (512, 512), 3: (96, 96, 96)}  # of the image that costs are given for
CHANNELS = {2: 3, 3: 1}
DECODERS_ON = "mit_b0"
Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `models`."""
    parser.add_argument("--filter", default="*", metavar="PATTERN", help="names to list: mit, 'pvt_v2_b?', all_mlp")
    parser.add_argument("--spatial-dims", type=int, choices=(2, 3), default=2, help="2 for images, 3 for volumes")
    parser.add_argument("--json", metavar="FILE", help="write the tables as JSON as well")


def run(args: argparse.Namespace) -> int:
    """Build every model on the meta device, where weights take no memory, and print what it is."""
    from densevit.tables import format_table

    tables = describe(args.filter, spatial_dims=args.spatial_dims)
    if not any(tables[kind] for kind in ("backbones", "decoders", "models")):
        raise ValueError(f"no backbone, decoder or whole model matches {args.filter!r}; `densevit models` lists all")
    for title, rows in tables.items():
        if rows:
            sys.stdout.write(f"{title}{_remark(title, args.spatial_dims)}\n{format_table(rows)}\n\n")
    if args.json:
        write_text(Path(args.json), json.dumps({"spatial_dims": args.spatial_dims, **tables}, indent=2) + "\n")
    return 0


def describe(pattern: str = "*", *, spatial_dims: int = 2) -> dict[str, list[Row]]:
    """Rows of the tables: backbones, decoders (on one backbone), published pairs, what proves them, their weights."""
    import torch

    from densevit.segmentor import list_backbones, list_decoders
    from densevit.weights.building import Building

    names = {
        "backbones": [name for name in list_backbones() if matches(name, pattern)],
        "decoders": [name for name in list_decoders() if matches(name, pattern) and "." not in name],  # not mmseg.*
        "models": [name for name in list_models() if matches(name, pattern)],
    }
    with torch.device("meta"), Building():
        tables = {kind: [_row(kind, name, spatial_dims) for name in names[kind]] for kind in names}
    listed = [name for kind in names.values() for name in kind]
    return {**tables, "references": _reference_rows(listed), "weights": _weight_rows(names["backbones"])}


def list_models() -> dict[str, Any]:
    """The whole models that were published, by name: "mit_b0 + all_mlp"."""
    from densevit.weights import list_pairs

    return {str(pair): pair for pair in list_pairs()}


def build(name: str, spatial_dims: int) -> Any:
    """The backbone, decoder (on DECODERS_ON) or whole model called `name`, fresh, on torch's default device."""
    from densevit.segmentor import create_backbone, create_decoder, create_segmentor, list_decoders

    common = dict(spatial_dims=spatial_dims, in_channels=CHANNELS[spatial_dims])
    if name in list_models():
        pair = list_models()[name]
        return create_segmentor(pair.backbone, pair.decoder, num_classes=pair.num_classes, **common)
    if name not in list_decoders():
        return create_backbone(name, **common)
    below = create_backbone(DECODERS_ON, **common)
    return create_decoder(name, in_channels=below.out_channels, in_strides=below.out_strides, spatial_dims=spatial_dims)


@cache
def measured() -> dict[str, Any]:
    """What tools/model_table.py wrote down: `cost` by rank and name, `parity` by name, the machine."""
    return json.loads(MEASURED.read_text())


def _row(kind: str, name: str, spatial_dims: int) -> Row:
    """Size, costs and outputs of what is called `name` among the "backbones", "decoders" or "models"."""
    made, cost = build(name, spatial_dims), measured()["cost"][str(spatial_dims)].get(name, {})
    row: Row = dict(name=name)
    if kind == "decoders":
        row["on"] = DECODERS_ON
    if kind == "models":
        row["num_classes"] = made.num_classes
    row["parameters"] = sum(parameter.numel() for parameter in made.parameters())
    row |= {key: cost.get(key) for key in ("gmacs", "ms", "peak_mb")}
    for key in dict(backbones=("out_channels", "out_strides"), decoders=("out_channels", "out_stride")).get(kind, ()):
        value = getattr(made, key)
        row[key] = list(value) if isinstance(value, tuple) else value
    return row


def _reference_rows(names: list[str]) -> list[Row]:
    parity = measured()["parity"]
    keys = ("reference", "max_error", "relative_error", "comparisons", "test")
    return [dict(name=name, **{key: proof[key] for key in keys}) for name in names for proof in parity.get(name, [])]


def _weight_rows(backbones: list[str]) -> list[Row]:
    from densevit.weights import known_families, known_sources, sources_of

    listed = {source for name in backbones for source in sources_of(name)}
    return [
        dict(
            source=name,
            family=", ".join(family.name for family in known_families().values() if name in family.releases),
            licence=release.licence,
            trained_on=release.trained_on,
            release=release.title,
            such_as=", ".join(release.hub) or None,
            by_name=_by_name([file.name for file in release.files]),
        )
        for name, release in known_sources().items()
        if name in listed
    ]


def _by_name(names: list[str]) -> str | None:
    """The files that `weights=` fetches by their names: the first and how many more."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}" if names else None


def _remark(title: str, spatial_dims: int) -> str:
    size = " x ".join(map(str, SIZES[spatial_dims]))
    return {
        "backbones": f", costs of one image of {size}",
        "decoders": f", costs on the maps that {DECODERS_ON} makes of it",
        "references": ", largest differences with the same random weights, single precision",
        "weights": ", releases that load_weights reads, and how many of their files `densevit weights` knows by name; "
        "licences are those of the publishers' repositories",
    }.get(title, "")


def matches(name: str, pattern: str) -> bool:
    """A glob, or any part of the name."""
    return fnmatch(name, pattern) or pattern in name
