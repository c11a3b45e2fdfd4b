"""What the class token looks at, cut out: the masks of heads that no label taught. https://arxiv.org/abs/2104.14294"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densevit.analyze.attention import attention_maps
from densevit.analyze.inputs import MOST_SHOWN, Seen, to_plane
from densevit.blocks.recorded import AttentionLayer, record_attention
from densevit.blocks.tokens import CLASS
from densevit.report.pages.analysis import Section
from densevit.report.tokens import map_sheet, save_label_map

MASS = 0.6  # of the attention that a mask holds


def attention_masks(maps: Tensor, *, mass: float = MASS) -> Tensor:
    """Maps (H, *S) -> bool (H, *S): the fewest places that hold this share of each map's sum."""
    flat = maps.flatten(1)
    values, order = flat.sort(dim=1, descending=True)
    before = values.cumsum(1) - values
    kept = before < mass * values.sum(1, keepdim=True)
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, order, kept).view(maps.shape)


def label_of_heads(maps: Tensor, masks: Tensor) -> Tensor:
    """(H, *S) each -> uint8 (*S): 1 + the head that gives a place most of all whose mask holds it, 0 in no mask."""
    shares = maps / maps.flatten(1).sum(1).clamp_min(1e-30).view(-1, *[1] * (maps.ndim - 1))
    best = (shares * masks).max(0)
    return torch.where(masks.any(0), best.indices + 1, 0).to(torch.uint8)


def mask_section(
    model: nn.Module, seen: Sequence[Seen], folder: Path, *, device: torch.device | None = None
) -> tuple[Section, dict[str, Any]] | None:
    """Maps and masks of each head of the last layer that has a class token; None for a network without one.

    Of pictures the masks are written as a label map too, at the size that is seen.
    """
    pictures, labels = [], []
    for i, each in enumerate(seen[:MOST_SHOWN]):
        layer = last_with_class_token(model, each.image[None].to(device))
        if layer is None:
            return None
        maps = attention_maps(layer)
        masks = attention_masks(maps)
        rows = [("attention", maps.numpy()), (f"{MASS:.0%} of it", masks.float().numpy())]
        drawn = [(name, to_plane(values, None)) for name, values in rows]
        pictures.append((each.name, map_sheet(each.shown(None), drawn, folder / f"masks_{i:02}.png", of="head")))
        if each.spacing is None:
            label = _stretched(label_of_heads(maps, masks).numpy(), each.image.shape[1:])
            labels.append(save_label_map(label, folder / f"mask_labels_{i:02}.png").name)
    told = (
        f"Where the class token of the last layer looks, by head, and the fewest patches that hold {MASS:.0%} of what "
        "a head gives to patches. mask_labels_00.png and so on are label maps at the size that was seen: 0 in no mask, "
        "else 1 + the head of whose attention a patch has the largest share."
    )
    named = [dict(image=name, picture=path.name) for name, path in pictures]
    return Section("Masks of heads", [told], pictures=pictures), dict(mass=MASS, pictures=named, labels=labels)


def last_with_class_token(model: nn.Module, image: Tensor) -> AttentionLayer | None:
    """The last layer of attention whose tokens have a class token, of an image (1, C, *S)."""
    with torch.inference_mode(), record_attention(model.backbone) as layers:
        model.backbone(image)
    return next((layer for layer in reversed(layers) if layer.places and CLASS in layer.prefix), None)


def _stretched(label: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Each place as the pixels that it covers."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, label.shape, strict=True))
    return label[rows][:, columns]
