"""Multiply-accumulates of the FPN part: visual tokens against the convolutions that they replace.

The FPN part is what lies between the backbone and the semantic branch: laterals, and either the 3 x 3 convolutions of
panoptic FPN or the tokens. Rows marked "measured" count our modules as they run; the others follow formulas.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from benchmarks.timing import write_json
from densevit.blocks import nd
from densevit.macs import count_macs_of
from densevit.segmentor import create_decoder
from densevit.tables import format_table

WIDTHS = {"resnet50": (256, 512, 1024, 2048), "mit_b2": (64, 128, 320, 512), "mit_b0": (32, 64, 160, 256)}
STRIDES = (4, 8, 16, 32)
DIM, GROUPS, NUM_TOKENS = 256, 16, 8  # of the pyramid, of the preprint's convolutions, of each level
PUBLISHED = {("resnet50", (800, 1216)): (55.1, 8.5), ("resnet50", (473, 473)): (12.8, 2.0)}


@dataclass(frozen=True)
class Pyramid:
    """Channels of a backbone's levels, and their pixels for one image."""

    channels: tuple[int, ...]
    sizes: tuple[tuple[int, ...], ...]

    @property
    def pixels(self) -> list[int]:
        """Of each level."""
        return [prod(size) for size in self.sizes]

    @property
    def laterals(self) -> int:
        """MACs of the 1 x 1 convolutions to DIM channels."""
        return sum(n * c * DIM for n, c in zip(self.pixels, self.channels, strict=True))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py macs`."""
    parser.add_argument("--widths", nargs="+", default=list(WIDTHS), choices=list(WIDTHS))
    parser.add_argument("--size", nargs=2, type=int, default=[800, 1216], metavar="N", help="height and width")
    parser.add_argument("--json", metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Print one row for each pyramid and each way of counting."""
    rows = [row for name in arguments.widths for row in compare(name, tuple(arguments.size))]
    header = list(rows[0])
    print(format_table([{key: row[key] for key in header} for row in rows], style="markdown"))
    write_json(arguments.json, rows)
    return 0


def compare(name: str, size: Sequence[int]) -> list[dict]:
    """Rows of one pyramid: the published figures where there are, what runs here, and readings of the two texts."""
    pyramid = Pyramid(WIDTHS[name], tuple(nd.ceil_div(size, stride) for stride in STRIDES))
    token_dim = pyramid.channels[-1] // 2
    convolutions = measured(pyramid, "fpn")
    ways = {
        "measured, form iccv": measured(pyramid, "vt_fpn"),
        "measured, form arxiv": measured(pyramid, "vt_fpn", form="arxiv"),
        "measured, form arxiv, 2 rounds": measured(pyramid, "vt_fpn", form="arxiv", depth=2),
        "equations as written, form iccv": as_written_iccv(pyramid, token_dim),
        "equations as written, form arxiv": as_written_arxiv(pyramid, token_dim, products=True),
        "their convolutions alone, form arxiv": as_written_arxiv(pyramid, token_dim, products=False),
    }
    rows = [_row(name, size, token_dim, way, convolutions / 1e9, tokens / 1e9) for way, tokens in ways.items()]
    if (name, tuple(size)) in PUBLISHED:
        rows.insert(0, _row(name, size, token_dim, "published", *PUBLISHED[name, tuple(size)]))
    return rows


def measured(pyramid: Pyramid, decoder: str, **options: object) -> int:
    """MACs of one of our decoders without its semantic branch."""
    with torch.device("meta"):
        module = create_decoder(decoder, in_channels=pyramid.channels, in_strides=STRIDES, dim=DIM, **options).eval()
        features = [torch.empty(1, c, *s) for c, s in zip(pyramid.channels, pyramid.sizes, strict=True)]
    count = count_macs_of(module, [features])
    return count.total - count.by_module["branch"]


def as_written_iccv(pyramid: Pyramid, token_dim: int) -> int:
    """The paper's equations in their order: every W on the side on which it stands, W_Q on every pixel."""
    pixels, tokens = sum(pyramid.pixels), NUM_TOKENS * len(pyramid.channels)
    tokenizer = 2 * pixels * DIM * NUM_TOKENS + tokens * DIM * token_dim  # X W_A, A^T X; to the tokens' width
    transformer = 4 * tokens * token_dim**2 + 2 * tokens**2 * token_dim  # K, Q, F1, F2; two products
    projector = (
        pixels * DIM**2 + 2 * tokens * token_dim * DIM + 2 * pixels * DIM * NUM_TOKENS
    )  # W_Q; W_K, W_V; products
    return pyramid.laterals + tokenizer + transformer + projector


def as_written_arxiv(pyramid: Pyramid, token_dim: int, *, products: bool) -> int:
    """The preprint's appendix in its order; without the products of attention, what counters of layers see."""
    pixels, tokens = sum(pyramid.pixels), NUM_TOKENS * len(pyramid.channels)
    tokenizer = pixels * DIM * NUM_TOKENS + pixels * DIM**2 // GROUPS + tokens * DIM * token_dim
    transformer = (
        2 * tokens * token_dim**2 // 8 + tokens * token_dim**2
    )  # k and q half as wide, v; 8 groups; last layer
    projector = pixels * DIM**2 // GROUPS + 2 * tokens * token_dim * DIM
    attention = 3 * pixels * DIM * NUM_TOKENS + 3 * tokens**2 * token_dim // 2
    return pyramid.laterals + tokenizer + transformer + projector + attention * products


def _row(name: str, size: Sequence[int], token_dim: int, way: str, convolutions: float, tokens: float) -> dict:
    return {
        "pyramid": name,
        "size": "x".join(map(str, size)),
        "tokens": f"{NUM_TOKENS} x {token_dim}",
        "way of counting": way,
        "FPN, GMACs": convolutions,
        "VT-FPN, GMACs": tokens,
        "ratio": convolutions / tokens,
    }
