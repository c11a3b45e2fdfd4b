"""Our decoders as decode heads in mmsegmentation's configs."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from densevit.integrations.mmseg.backbones import DENSEVIT
from densevit.segmentor import create_decoder


@DENSEVIT.register_module()
class DecodeHead(BaseDecodeHead):
    """[(B, C_i, *S_i)] fine to coarse -> logits (B, num_classes, *S_0), with mmsegmentation's losses and predictions.

    `decoder` names ours, built with `decoder_options`; `in_strides` are the backbone's. `norm_cfg=dict(type="SyncBN")`
    makes its batch norms synchronised, as in the heads there; `options` are those of `BaseDecodeHead`: `num_classes`,
    `loss_decode`, `ignore_index`, ... The decoder has its own dropout.
    """

    def __init__(
        self,
        *,
        decoder: str,
        in_channels: Sequence[int],
        in_strides: Sequence[int] = (4, 8, 16, 32),
        in_index: Sequence[int] | None = None,
        decoder_options: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        **options: Any,
    ):
        made = create_decoder(decoder, in_channels=in_channels, in_strides=in_strides, **dict(decoder_options or {}))
        if norm_cfg is not None and norm_cfg["type"] == "SyncBN":
            made = nn.SyncBatchNorm.convert_sync_batchnorm(made)
        super().__init__(
            list(in_channels),
            made.out_channels,
            in_index=list(range(len(in_channels)) if in_index is None else in_index),
            input_transform="multiple_select",
            norm_cfg=norm_cfg,
            dropout_ratio=0,
            **options,
        )
        self.decoder = made

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        return self.decoder(self._transform_inputs(inputs)).classify(self.cls_seg).logits()
