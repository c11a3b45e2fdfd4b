"""Our backbones, decoders and sliding window under `densevit.*` in mmsegmentation's configs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder as MmsegEncoderDecoder
from mmseg.registry.registry import MODELS, Registry
from torch import Tensor, nn

from densevit.inference import sliding_window
from densevit.segmentor import create_backbone, create_decoder
from densevit.weights import known_families

# A child of its registry, so that every `densevit.X` is looked up here.
DENSEVIT = Registry("model", parent=MODELS, scope="densevit")
# Name there -> beginning of our names: dict(type="densevit.MiT", variant="b2") is `mit_b2`.
NAMES = {name: prefix for family in known_families().values() for name, prefix in family.mmseg.items()}


def _family(prefix: str) -> Callable[..., nn.Module]:
    def build(*, variant: str, **options: Any) -> nn.Module:
        return create_backbone(f"{prefix}_{variant}", **options)

    return build


DENSEVIT.register_module(name="Backbone", module=create_backbone)
for _name, _prefix in NAMES.items():
    DENSEVIT.register_module(name=_name, module=_family(_prefix))


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


@DENSEVIT.register_module()
class EncoderDecoder(MmsegEncoderDecoder):
    """`type="densevit.EncoderDecoder"` in place of `"EncoderDecoder"`: the same logits, no full-size map for a window.

    `test_cfg` may say `batch_size`, windows in one forward (1), beside `mode="slide"`, `crop_size` and `stride`.
    """

    def slide_inference(self, inputs: Tensor, batch_img_metas: Sequence[dict[str, Any]]) -> Tensor:
        """(B, C, H, W) -> logits (B, K, H, W), windows averaged; the metas are left as they are."""

        def predict(windows: Tensor) -> Tensor:
            size = tuple(windows.shape[2:])
            metas = [{**batch_img_metas[0], "img_shape": size, "pad_shape": size}] * len(windows)
            return self.encode_decode(windows, metas)

        options = dict(roi_size=tuple(self.test_cfg.crop_size), stride=tuple(self.test_cfg.stride))
        options |= dict(grid="mmseg", blend="constant", batch_size=self.test_cfg.get("batch_size", 1))
        return torch.stack([sliding_window(predict, image, **options) for image in inputs])
