"""Supervision that training adds and nothing else ever runs: FCN heads on backbone levels, classifiers on decoder maps.

Auxiliary heads as in PSPNet (https://arxiv.org/abs/1612.01105), deep supervision as in nnU-Net
(https://doi.org/10.1038/s41592-020-01008-z).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from densevit.blocks import nd
from densevit.decoders import Decoder, DenseMap, Output
from densevit.decoders.base import init_classifier
from densevit.losses import check_loss, create_loss
from densevit.segmentor import Segmentor


@dataclass(frozen=True, kw_only=True)
class AuxiliaryOptions:
    """A head on one level of the backbone (0 is the finest) that training alone has; `loss` None is the main one."""

    level: int
    dim: int = 256
    weight: float = 0.4
    dropout: float = 0.1
    loss: list[dict[str, Any]] | dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.loss is not None:
            check_loss(self.loss)


@dataclass(frozen=True, kw_only=True)
class DeepSupervisionOptions:
    """Losses on the decoder's own maps, fine to coarse, the first being its output; "halving" is 1, 1/2, 1/4, ...

    The halving weights are divided by their sum; numbers, one a map, are used as they are, and 0 leaves a map out.
    """

    weights: tuple[float, ...] | Literal["halving"] = "halving"


class FCNHead(nn.Module):
    """3 x 3 convolution, norm, ReLU, dropout, classifier: (B, C, *S) -> logits (B, num_classes, *S)."""

    def __init__(self, spatial_dims: int, in_channels: int, dim: int, *, num_classes: int, dropout: float):
        super().__init__()
        conv = nd.CONV[spatial_dims]
        self.conv = conv(in_channels, dim, 3, padding=1, bias=False)
        self.norm = nd.BATCH_NORM[spatial_dims](dim)
        self.dropout = nd.CHANNEL_DROPOUT[spatial_dims](dropout)
        self.classifier = conv(dim, num_classes, 1)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        init_classifier(self.classifier)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.norm(self.conv(x)).relu()))


class Supervision(nn.Module):
    """Runs a segmentor once: (B, C, *S) -> classified outputs {"main": (B, K, *S_0), "auxiliary_2": (B, K, *S_2), ...}.

    What its decoder read comes with them. The segmentor is handed in with each call and is no part of this module.
    `auxiliary` and `deep` are what a config's keys ask for, each with `loss`; ValueError for a level that is not there
    and a decoder without levels.
    """

    def __init__(
        self,
        segmentor: Segmentor,
        *,
        auxiliary: Sequence[AuxiliaryOptions],
        deep: DeepSupervisionOptions | None,
        loss: Any,
        ignore_index: int,
    ):
        super().__init__()
        n, classes, channels = segmentor.spatial_dims, segmentor.num_classes, segmentor.backbone.out_channels
        _check_levels([head.level for head in auxiliary], len(channels))
        level_weights = () if deep is None else _level_weights(deep.weights, segmentor.decoder)
        self.weights = {"main": level_weights[0] if level_weights else 1.0}
        self.heads, self.levels, self.losses = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for head in auxiliary:
            name, width = f"auxiliary_{head.level}", channels[head.level]
            self.heads[str(head.level)] = FCNHead(n, width, head.dim, num_classes=classes, dropout=head.dropout)
            self.weights[name] = head.weight
            self.losses[name] = create_loss(head.loss or loss, ignore_index=ignore_index)
        for level, weight in enumerate(level_weights):
            if level > 0 and weight > 0:
                name = f"level_{level}"
                self.levels[str(level)] = segmentor.decoder.create_head(classes, level=level)
                self.weights[name] = weight
                self.losses[name] = create_loss(loss, ignore_index=ignore_index)

    def forward(self, segmentor: Segmentor, image: Tensor) -> tuple[dict[str, Output], list[Tensor]]:
        features = segmentor.forward_levels(image)
        decoder = segmentor.decoder
        outputs = decoder.forward_levels(features) if self.levels else [decoder(features)]
        first = len(features) - len(segmentor.backbone.out_channels)  # 1 where the image itself is level 0
        classified = {
            "main": outputs[0].classify(segmentor.head),
            **{f"auxiliary_{i}": DenseMap(head(features[first + int(i)])) for i, head in self.heads.items()},
            **{f"level_{i}": outputs[int(i)].classify(head) for i, head in self.levels.items()},
        }
        return classified, features

    def total(self, outputs: Mapping[str, Output], label: Tensor, *, loss: nn.Module) -> dict[str, Tensor]:
        """Weighted, named losses of what `forward` gave; `loss` is the main one, label (B, *S)."""
        terms = {}
        for name, output in outputs.items():
            part = "loss_" if name == "main" else f"loss_{name}_"
            for key, value in (loss if name == "main" else self.losses[name])(output.float(), label).items():
                terms[key.replace("loss_", part, 1)] = self.weights[name] * value
        return terms


def _check_levels(levels: Sequence[int], count: int) -> None:
    for level in levels:
        if not 0 <= level < count:
            raise ValueError(f"auxiliary names level {level}, and the backbone has levels 0 to {count - 1}")
    if len(set(levels)) < len(levels):
        raise ValueError(f"auxiliary names the levels {levels}, and a level can have one head; take one out")


def _level_weights(weights: str | Sequence[float], decoder: Decoder) -> tuple[float, ...]:
    """One weight a map of the decoder, fine to coarse; "halving" is 1, 1/2, 1/4, ... over their sum."""
    channels = decoder.level_channels
    if len(channels) < 2:
        raise ValueError(
            "deep_supervision needs maps at several levels, which the decoder has not; "
            "use auxiliary heads on the backbone's levels"
        )
    if weights == "halving":
        total = 2 - 0.5 ** (len(channels) - 1)
        return tuple(0.5**i / total for i in range(len(channels)))
    if len(weights) != len(channels) or min(weights) < 0 or weights[0] == 0:
        raise ValueError(
            f"deep_supervision.weights must be {len(channels)} numbers for this decoder, the first above 0 and none "
            f"below, or 'halving'; got {weights}"
        )
    return tuple(weights)
