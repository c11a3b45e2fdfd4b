"""Measure every model and write docs/models.md: `python tools/model_table.py --macs --cost --parity`.

Without a flag, the page is written from what was measured before (densevit/cli/measured.json). Each flag renews one
part of it, for the names that --filter selects: --macs counts multiply-accumulates; --cost measures latency and peak
memory, each model in a process of its own, on a machine with nothing else to do; --parity runs the parity tests and
writes down the errors that they find.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cost import ENOUGH_SECONDS, ROUNDS, gmacs, measure_here, time_and_memory
from benchmarks.macs import compare
from benchmarks.timing import machine
from densevit.cli import models
from densevit.files import write_text
from densevit.segmentor import list_backbones, list_decoders
from densevit.tables import format_table
from densevit.weights import sources_of

PYRAMIDS = (("resnet50", (800, 1216)), ("resnet50", (473, 473)), ("mit_b2", (800, 1216)))
PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def main() -> int:
    """Renew what the flags ask for, then write the page."""
    arguments = _parse()
    if arguments.one:
        print(json.dumps(measure_here(arguments.one, arguments.spatial_dims)))
        return 0
    stored = json.loads(models.MEASURED.read_text())
    if arguments.macs or arguments.cost:
        _renew_costs(stored, arguments)
    if arguments.parity is not None:
        from benchmarks.parity import record  # needs the peers' packages

        for name, proofs in record(arguments.parity).items():
            renewed = {proof["test"] for proof in proofs}
            kept = [proof for proof in stored["parity"].get(name, []) if proof["test"] not in renewed]
            stored["parity"][name] = kept + proofs
        _store(stored)
    PAGE.write_text(page())
    return 0


def _renew_costs(stored: dict, arguments: argparse.Namespace) -> None:
    if arguments.cost:
        stored["machine"] = machine()
    for spatial_dims in (2, 3):
        for name in [name for name in every_name() if models.matches(name, arguments.filter)]:
            cost = stored["cost"][str(spatial_dims)].setdefault(name, {})
            cost |= {"gmacs": gmacs(name, spatial_dims)} if arguments.macs else {}
            cost |= time_and_memory(name, spatial_dims) if arguments.cost else {}
            sys.stderr.write(f"{name} {spatial_dims}D: {cost}\n")
            _store(stored)


def every_name() -> list[str]:
    """Backbones, decoders and published pairs."""
    return [*list_backbones(), *list_decoders(), *models.list_models()]


def page() -> str:
    """The whole of docs/models.md."""
    stored = json.loads(models.MEASURED.read_text())
    flat, deep = (models.describe(spatial_dims=n) for n in (2, 3))
    where = stored["machine"]
    on = f"{where['processor']}, {where['threads']} threads, torch {where['torch']}" if where else "not measured yet"
    return TEXT.format(
        rounds=ROUNDS,
        enough=ENOUGH_SECONDS,
        machine=on,
        backbones=_table([_with_proof(row) for row in flat["backbones"]]),
        volumes=_table([_cost(row) for row in deep["backbones"]]),
        decoders=_table([_cost(row) for row in flat["decoders"]]),
        volume_decoders=_table([_cost(row) for row in deep["decoders"]]),
        models=_table([_cost(row) for row in flat["models"]]),
        volume_models=_table([_cost(row) for row in deep["models"]]),
        references=_table(flat["references"]),
        weights=_table(flat["weights"]),
        tokens=_table([row for name, size in PYRAMIDS for row in compare(name, size)]),
    )


def _cost(row: models.Row) -> models.Row:
    keys = {"parameters": "parameters", "gmacs": "GMACs", "ms": "ms", "peak_mb": "peak MB"}
    return {"model": row["name"], **{title: row[key] for key, title in keys.items()}}


def _with_proof(row: models.Row) -> models.Row:
    proofs = models.measured()["parity"].get(row["name"], [])
    return {
        **_cost(row),
        "proven against": "; ".join(dict.fromkeys(proof["reference"] for proof in proofs)) or None,
        "to an error of": max((proof["max_error"] for proof in proofs), default=None),
        "weights": ", ".join(sources_of(row["name"])) or None,
    }


def _table(rows: Sequence[models.Row]) -> str:
    """Without the padding that aligns columns: cells of this page are long."""
    table = format_table(rows, style="markdown") if rows else "| none yet |\n|---|"
    return re.sub("-{3,}", "---", re.sub(" +", " ", table))


def _store(stored: dict) -> None:
    """Write beside the file, then rename: what was measured is never half a file."""
    write_text(models.MEASURED, json.dumps(stored, indent=1, sort_keys=True) + "\n")
    models.measured.cache_clear()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--macs", action="store_true", help="count multiply-accumulates, in 2D and 3D")
    parser.add_argument("--cost", action="store_true", help="measure latency and peak memory, in 2D and 3D")
    parser.add_argument("--parity", nargs="*", metavar="TEST", help="run these parity tests, by default all")
    parser.add_argument("--filter", default="*", metavar="PATTERN", help="names that --macs and --cost renew")
    parser.add_argument("--one", metavar="NAME", help=argparse.SUPPRESS)
    parser.add_argument("--spatial-dims", type=int, default=2, help=argparse.SUPPRESS)
    return parser.parse_args()


TEXT = """# Models

<!-- Written by tools/model_table.py; change that, not this. -->

`densevit models` prints the same from the command line, for 2D or 3D (`--spatial-dims 3`) and for some of the names
(`--filter swin`).

* Parameters and GMACs (10^9 multiply-accumulates) are of one image of 512 x 512 pixels with 3 channels, in 3D of a
  volume of 96 x 96 x 96 voxels with 1. Both products of every attention are counted; norms, activations and resizing
  are not.
* ms is the median of {rounds} forwards after a warm-up (fewer where they take {enough} s together), fp32, batch 1;
  peak MB (10^6 bytes) is what one forward adds to weights and input. Each model ran in a process of its own.
  Machine: {machine}.
* "Proven against" names the packages whose model gives the same maps with the same random weights in every tensor, and
  the largest difference of any value of any stage that the parity tests found in single precision; each test bounds
  it. Where a test shrinks a model, the table says how. A variant without a number shares the code of one that has it,
  but was not itself compared. Comparisons in which a test asserts a difference are left out; a test
  that builds two forms of a model counts for both, so a row may name a form that the test only holds against another.
* An error of 0 is equality of every bit: the reference calls the same attention kernel on the same numbers. With
  `attn_implementation="eager"` transformers' Swin and ViT differ by some 1e-6 too. Errors above 1e-5 are of maps that
  no norm bounds; relative to the largest value of the map they are below it, see "References".
* Weights are the releases whose checkpoints `load_weights` reads; they are listed at the end. `by_name` are files that
  `weights="NAME"` fetches; `densevit weights list` shows all of them (docs/weights.md).

Everything here is made by `python tools/model_table.py --macs --cost --parity`.

## Backbones, 2D

{backbones}

## Backbones, 3D

{volumes}

## Decoders, 2D

On the maps that mit_b0 makes of the image; with the image itself where a decoder takes it, see the whole models.

{decoders}

## Decoders, 3D

{volume_decoders}

## Whole models as they were published, 2D

{models}

## Whole models, 3D

{volume_models}

## Visual tokens in place of an FPN's convolutions

`python tools/benchmark.py macs`: what lies between the backbone and the semantic branch, of the decoders `fpn` and
`vt_fpn`. The paper's figure for the FPN is that of the laterals and of the 3 x 3 convolutions of four levels. What its
figure for the tokens counts, it does not say; of these readings, the preprint's layers without the products of
attention, which is what counters of layers see, come nearest at both sizes. Here the maps W_Q and W_V of the attentions
are made on the tokens' side, which leaves a pixel 8 filters and 8 values; the published equations taken in their order
have W_Q on every pixel, which alone is more than all the rest that the tokens do.

{tokens}

Where the tokens look can be drawn, one row a level and one column a token:

```python
import torch

import densevit
from densevit.report.tokens import token_sheet

model = densevit.create_segmentor("mit_b0", "vt_fpn", num_classes=19).eval()
picture = torch.randint(256, (96, 128, 3), dtype=torch.uint8)
with torch.inference_mode():
    features = model.forward_features(picture.movedim(-1, 0)[None] / 255)
    maps = model.decoder.token_maps(features)  # [(1, 8, *S_i)], each map sums to 1
token_sheet(picture.numpy(), [level[0].numpy() for level in maps], "tokens.png")
```

## References

Differences of the parity tests: largest, and largest relative to the largest value of the map that it was found in.

{references}

## Weights

{weights}
"""
