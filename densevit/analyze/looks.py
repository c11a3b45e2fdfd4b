"""Parts of an analysis as sections of its page: each draws its pictures into a folder and says what they show."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densevit.analyze.attention import attention_maps, by_stage, query_row, rollout
from densevit.analyze.inputs import MOST_SHOWN, Seen, times, to_plane
from densevit.analyze.receptive_field import SHARES, ReceptiveField, receptive_fields
from densevit.backbones.base import Backbone
from densevit.blocks.recorded import AttentionLayer, record_attention
from densevit.blocks.tokens import CLASS
from densevit.decoders.vt_fpn import VTFPNDecoder
from densevit.progress import Bars
from densevit.quoting import sentence
from densevit.report.fields import Plane, field_sheet
from densevit.report.pages.analysis import Section
from densevit.report.tokens import map_sheet, token_sheet

Content = dict[str, Any]


def field_section(
    model: nn.Module,
    images: Sequence[Tensor],
    folder: Path,
    *,
    of: str,
    spacing: Sequence[float] | None = None,
    device: torch.device | None = None,
    bars: Bars | None = None,
) -> tuple[Section, Content]:
    """Receptive fields of every output, averaged over `images`, which are `of` something; a volume's in three central
    planes."""

    def each() -> Any:
        for done, image in enumerate(images, start=1):
            yield image.to(device)
            if bars is not None:
                bars.show("receptive fields", done, len(images))

    fields = receptive_fields(model, each())
    size = fields[0].energy.shape
    planes = [*combinations(range(len(size)), 2)][::-1]  # of a volume axial, coronal, sagittal
    rows = [[_plane(field, axes, spacing) for field in fields] for axes in planes]
    picture = field_sheet(rows, folder / "receptive_field.png")
    unit = "pixels" if spacing is None else "voxels"
    section = Section(
        "Effective receptive field",
        [
            f"What moves the centre of each output: squared gradients with respect to the input, {times(size)} {unit}, "
            f"averaged over {of}, on a logarithmic scale. A box holds the share of the energy that the table says, "
            "white 50 %, blue 90 %, green 95 %; one as large as the input may be larger in a larger one.",
        ],
        [_row(field, spacing, unit) for field in fields],
        pictures=[("from dark at 1e-5 of the peak to bright at the peak", picture)],
    )
    said = [
        dict(output=field.name, centre=field.centre, sizes={str(share): field.size(share) for share in SHARES})
        for field in fields
    ]
    return section, dict(size=size, averaged_over=of, spacing=spacing, outputs=said)


def attention_section(
    model: nn.Module,
    seen: Sequence[Seen],
    folder: Path,
    *,
    query: Sequence[float] | None = None,
    device: torch.device | None = None,
    bars: Bars | None = None,
) -> tuple[Section, Content]:
    """Maps of the heads of the last layer of each stage, and rollout, of each image; one sentence where there are
    none."""
    shown, pictures, sentences = seen[:MOST_SHOWN], [], []
    for i, each in enumerate(shown):
        place = each.within(query)
        try:
            with torch.inference_mode(), record_attention(model.backbone) as layers:
                model.backbone(each.image[None].to(device))
            rows = attention_rows(layers, place)
        except ValueError as error:
            sentences.append(f"{each.name}: no maps, for {sentence(str(error))}.")
            continue
        if not rows:
            sentences.append("The backbone has no attention, or none that can be recorded; there are no maps of it.")
            break
        drawn = [(name, to_plane(maps.numpy(), place)) for name, maps in rows]
        path = map_sheet(each.shown(place), drawn, folder / f"attention_{i:02}.png", of="head")
        pictures.append((each.name, path))
        if i == 0:
            sentences.append(_who_asks(layers, place))
        if bars is not None:
            bars.show("attention", i + 1, len(shown))
    if len(seen) > len(shown):
        sentences.append(f"Drawn of the first {len(shown)} of {len(seen)} images.")
    return Section("Attention", sentences, pictures=pictures), dict(sentences=sentences, pictures=_names(pictures))


def attention_rows(layers: Sequence[AttentionLayer], query: Sequence[float] | None = None) -> list[tuple[str, Tensor]]:
    """(name, maps (L, *S)): the heads of the last layer of each stage, then the rollout through all layers.

    The query's place is a share of each axis; see `query_row`.
    """
    rows = [(stage, attention_maps(of_stage[-1], query)) for stage, of_stage in by_stage(layers).items()]
    if rows:
        first = layers[0]
        rolled = rollout(layers, query_row(layers[-1], query))[:, len(first.prefix) :]
        rows.append(("rollout", rolled.unflatten(1, first.size)))
    return rows


def token_section(
    model: nn.Module, seen: Sequence[Seen], folder: Path, *, device: torch.device | None = None
) -> tuple[Section, Content] | None:
    """Maps of the visual tokens of a backbone's blocks and of a decoder; None where neither has them."""
    pictures = []
    for i, each in enumerate(seen[:MOST_SHOWN]):
        with torch.inference_mode():
            maps = _token_maps(model, each.image[None].to(device))
        if not maps:
            return None
        planes = [to_plane(level[0].float().cpu().numpy(), None) for level in maps]
        pictures.append((each.name, token_sheet(each.shown(None), planes, folder / f"tokens_{i:02}.png")))
    told = "Where each visual token of a block or level looked; the number is the peak over the mean, 1 for a token "
    told += "that looks everywhere alike."
    return Section("Visual tokens", [told], pictures=pictures), dict(pictures=_names(pictures))


def _token_maps(model: nn.Module, image: Tensor) -> list[Tensor]:
    """[(B, L, *S_i)] of the backbone's blocks that have visual tokens, then of the decoder's levels."""
    maps = []
    if isinstance(model.backbone, Backbone):
        blocks = range(sum(len(stage.blocks) for stage in model.backbone.stages))
        levels = model.backbone.features(image, blocks=blocks, norm=False).levels
        maps += [level.visual.maps for level in levels if level.visual is not None]
    if isinstance(getattr(model, "decoder", None), VTFPNDecoder):
        maps += model.decoder.token_maps(model.forward_features(image))
    return maps


def _names(pictures: Sequence[tuple[str, Path]]) -> list[dict[str, str]]:
    return [dict(image=name, picture=path.name) for name, path in pictures]


def _who_asks(layers: Sequence[AttentionLayer], query: Sequence[float] | None) -> str:
    last = layers[-1]
    who = "the marked place" if query is not None else "the class token" if CLASS in last.prefix else "all places alike"
    return (
        f"How much is taken from each place by {who}: by each head of the last layer of each stage, and below by "
        "rollout, the mean of the heads and the residual, half each, multiplied through all layers from the last one "
        "on; what a reduced key takes is shared out over its part of the grid. The number is the peak over the mean."
    )


def _row(field: ReceptiveField, spacing: Sequence[float] | None, unit: str) -> Content:
    row: Content = dict(output=field.name)
    for share in SHARES:
        size = field.size(share)
        row[f"{share:.0%}, {unit}"] = size
        if spacing is not None:
            row[f"{share:.0%}, mm"] = times([f"{size * s:.3g}" for s in spacing])
    return row | {f"input, {unit}": times(field.energy.shape)}


def _plane(field: ReceptiveField, axes: tuple[int, int], spacing: Sequence[float] | None) -> Plane:
    """The plane of two axes through the centre."""
    where = tuple(slice(None) if axis in axes else int(c) for axis, c in enumerate(field.centre))
    sizes = [field.size(share) for share in SHARES]
    first, second = axes
    return Plane(
        field.name,
        " / ".join(map(str, sizes)),
        field.energy[where],
        (field.centre[first], field.centre[second]),
        [(size, size) for size in sizes],
        (1.0, 1.0) if spacing is None else (spacing[first], spacing[second]),
    )
