"""mmsegmentation's segmentor with its slide mode served by our sliding window."""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.segmentors import EncoderDecoder as MmsegEncoderDecoder
from torch import Tensor

from densevit.inference import sliding_window
from densevit.integrations.mmseg.backbones import DENSEVIT


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
