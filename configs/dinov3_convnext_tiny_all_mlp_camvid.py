"""DINOv3 ConvNeXt-T and the All-MLP decoder on CamVid: 400 iterations from random weights, as in camvid_short.py.

Command: `python tools/train.py configs/dinov3_convnext_tiny_all_mlp_camvid.py`; with weights of its authors, for which
the backbone is made: `--cfg-options model.backbone_options.weights=FILE`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "camvid_short.py"

model = dict(backbone="dinov3_convnext_tiny")
optimizer = dict(no_decay=("norm", "gamma", "qv_bias", "pos_embed", "cls_token", "reg_token"))
