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
# Whole models as they were published: backbone, decoder, classes.
PAIRS = (
    *((f"mit_b{i}", "all_mlp", 19) for i in range(6)),
    *((f"pvt_v2_b{i}", "fpn", 150) for i in range(6)),
    *((f"swin_{size}", "uper", 150) for size in ("tiny", "small", "base", "large")),
    ("unetr_vit_base", "unetr", 14),
    *((f"swin_unetr_{size}", "unetr", 14) for size in ("tiny", "small", "base")),
)
# Variants that other releases hold than all of the family their name begins with.
RELEASES = {"unetr_vit_base": ("monai_vit",), "mvit_v1_base": ("slowfast_mvit", "torchvision_mvit")}
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
        raise ValueError(f"no backbone, decoder or pair matches {args.filter!r}; `densevit models` lists all")
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

    names = {
        "backbones": [name for name in list_backbones() if matches(name, pattern)],
        "decoders": [name for name in list_decoders() if matches(name, pattern) and "." not in name],  # not mmseg.*
        "models": [name for name in pair_names() if matches(name, pattern)],
    }
    rows = {"backbones": _backbone_row, "decoders": _decoder_row, "models": _pair_row}
    with torch.device("meta"):
        tables = {kind: [rows[kind](name, spatial_dims) for name in names[kind]] for kind in names}
    listed = [name for kind in names.values() for name in kind]
    return {**tables, "references": _reference_rows(listed), "weights": _weight_rows(names["backbones"])}


def pair_names() -> list[str]:
    """Names of the published pairs whose parts are registered: "mit_b0 + all_mlp"."""
    from densevit.segmentor import list_backbones, list_decoders

    known = {*list_backbones(), *list_decoders()}
    return [f"{backbone} + {decoder}" for backbone, decoder, _ in PAIRS if {backbone, decoder} <= known]


def build(name: str, spatial_dims: int) -> Any:
    """The backbone, decoder (on DECODERS_ON) or pair called `name`, fresh, on torch's default device."""
    from densevit.segmentor import create_backbone, create_decoder, create_segmentor, list_decoders

    common = dict(spatial_dims=spatial_dims, in_channels=CHANNELS[spatial_dims])
    if " + " in name:
        backbone, decoder = name.split(" + ")
        return create_segmentor(backbone, decoder, num_classes=_num_classes(name), **common)
    if name not in list_decoders():
        return create_backbone(name, **common)
    below = create_backbone(DECODERS_ON, **common)
    return create_decoder(name, in_channels=below.out_channels, in_strides=below.out_strides, spatial_dims=spatial_dims)


@cache
def measured() -> dict[str, Any]:
    """What tools/model_table.py wrote down: `cost` by rank and name, `parity` by name, the machine."""
    return json.loads(MEASURED.read_text())


def sources_of(backbone: str) -> list[str]:
    """Releases whose weights the backbone loads."""
    families = {source.family for source in _sources().values() if backbone.startswith(source.family)}
    family = max(families, key=len)  # swin_unetr before swin
    releases = RELEASES.get(backbone) or [name for name, s in _sources().items() if family and s.family == family]
    return [name for name in _sources() if name in releases]


def _backbone_row(name: str, spatial_dims: int) -> Row:
    backbone = build(name, spatial_dims)
    return dict(
        name=name,
        **_size_and_cost(backbone, name, spatial_dims),
        out_channels=list(backbone.out_channels),
        out_strides=list(backbone.out_strides),
    )


def _decoder_row(name: str, spatial_dims: int) -> Row:
    decoder = build(name, spatial_dims)
    return dict(
        name=name,
        on=DECODERS_ON,
        **_size_and_cost(decoder, name, spatial_dims),
        out_channels=decoder.out_channels,
        out_stride=decoder.out_stride,
    )


def _pair_row(name: str, spatial_dims: int) -> Row:
    cost = _size_and_cost(build(name, spatial_dims), name, spatial_dims)
    return dict(name=name, num_classes=_num_classes(name), **cost)


def _size_and_cost(module: Any, name: str, spatial_dims: int) -> Row:
    cost = measured()["cost"][str(spatial_dims)].get(name, {})
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return dict(parameters=parameters, **{key: cost.get(key) for key in ("gmacs", "ms", "peak_mb")})


def _reference_rows(names: list[str]) -> list[Row]:
    parity = measured()["parity"]
    keys = ("reference", "max_error", "relative_error", "comparisons", "test")
    return [dict(name=name, **{key: proof[key] for key in keys}) for name in names for proof in parity.get(name, [])]


def _weight_rows(backbones: list[str]) -> list[Row]:
    listed = {source for name in backbones for source in sources_of(name)}
    return [
        dict(source=name, family=source.family, release=source.title)
        for name, source in _sources().items()
        if name in listed
    ]


def _sources() -> dict[str, Any]:
    from densevit.weights.maps import SOURCES

    return SOURCES


def _num_classes(pair: str) -> int:
    return next(classes for backbone, decoder, classes in PAIRS if pair == f"{backbone} + {decoder}")


def _remark(title: str, spatial_dims: int) -> str:
    size = " x ".join(map(str, SIZES[spatial_dims]))
    return {
        "backbones": f", costs of one image of {size}",
        "decoders": f", costs on the maps that {DECODERS_ON} makes of it",
        "references": ", largest differences with the same random weights, single precision",
        "weights": ", releases that load_weights reads",
    }.get(title, "")


def matches(name: str, pattern: str) -> bool:
    """A glob, or any part of the name."""
    return fnmatch(name, pattern) or pattern in name
