"""List the backbones and decoders, with parameters, strides and channels."""

import argparse
import json
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

PAIR_CLASSES = 19  # SegFormer's published parameter counts are for Cityscapes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `models`."""
    parser.add_argument("--filter", default="*", metavar="PATTERN", help="names to list: mit, 'pvt_v2_b?', all_mlp")
    parser.add_argument("--spatial-dims", type=int, choices=(2, 3), default=2, help="2 for images, 3 for volumes")
    parser.add_argument("--json", metavar="FILE", help="write the tables as JSON as well")


def run(args: argparse.Namespace) -> int:
    """Build every model on the meta device, where weights take no memory, and print what it is."""
    tables = describe(args.filter, spatial_dims=args.spatial_dims)
    if not any(tables.values()):
        raise ValueError(f"no backbone, decoder or pair matches {args.filter!r}; `densevit models` lists all")
    for title, rows in tables.items():
        if rows:
            sys.stdout.write(f"{title}\n{format_table(rows)}\n\n")
    if args.json:
        Path(args.json).write_text(json.dumps({"spatial_dims": args.spatial_dims, **tables}, indent=2) + "\n")
    return 0


def describe(pattern: str = "*", *, spatial_dims: int = 2) -> dict[str, list[dict[str, Any]]]:
    """Rows of the three tables: backbones, decoders (on mit_b0), and the pairs that SegFormer publishes."""
    import torch

    from densevit.segmentor import list_backbones, list_decoders

    backbones = [name for name in list_backbones() if _matches(name, pattern)]
    decoders = [name for name in list_decoders() if _matches(name, pattern)]
    pairs = [f"mit_b{i}" for i in range(6)]
    with torch.device("meta"):
        return {
            "backbones": [_backbone_row(name, spatial_dims) for name in backbones],
            "decoders": [_decoder_row(name, spatial_dims) for name in decoders],
            "segformer": [_pair_row(name, spatial_dims) for name in pairs if _matches(f"{name} + all_mlp", pattern)],
        }


def format_table(rows: list[dict[str, Any]]) -> str:
    """Rows of equal keys as aligned columns: numbers to the right, words to the left."""
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [isinstance(value, int) for value in rows[0].values()]
    lines = []
    for line in cells:
        padded = zip(line, widths, right, strict=True)
        lines.append("  " + "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in padded).rstrip())
    return "\n".join(lines)


def _backbone_row(name: str, spatial_dims: int) -> dict[str, Any]:
    from densevit.segmentor import create_backbone

    backbone = create_backbone(name, spatial_dims=spatial_dims)
    return dict(
        name=name,
        parameters=_parameters(backbone),
        out_channels=list(backbone.out_channels),
        out_strides=list(backbone.out_strides),
    )


def _decoder_row(name: str, spatial_dims: int) -> dict[str, Any]:
    from densevit.segmentor import create_backbone, create_decoder

    backbone = create_backbone("mit_b0", spatial_dims=spatial_dims)
    decoder = create_decoder(
        name, in_channels=backbone.out_channels, in_strides=backbone.out_strides, spatial_dims=spatial_dims
    )
    return dict(
        name=name,
        on="mit_b0",
        parameters=_parameters(decoder),
        out_channels=decoder.out_channels,
        out_stride=decoder.out_stride,
    )


def _pair_row(name: str, spatial_dims: int) -> dict[str, Any]:
    from densevit.segmentor import create_segmentor

    model = create_segmentor(name, "all_mlp", num_classes=PAIR_CLASSES, spatial_dims=spatial_dims)
    return dict(
        name=f"{name} + all_mlp",
        num_classes=PAIR_CLASSES,
        dim=model.decoder.out_channels,
        parameters=_parameters(model),
    )


def _parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else value


def _matches(name: str, pattern: str) -> bool:
    """A glob, or any part of the name."""
    return fnmatch(name, pattern) or pattern in name
