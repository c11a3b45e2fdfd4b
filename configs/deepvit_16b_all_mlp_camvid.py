"""DeepViT-16B and the All-MLP decoder on CamVid: 400 iterations from random weights, as in camvid_short.py.

Command: `python tools/train.py configs/deepvit_16b_all_mlp_camvid.py`; with weights of its authors:
`--cfg-options model.backbone_options.weights=FILE`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "camvid_short.py"

model = dict(backbone="deepvit_16b")
optimizer = dict(no_decay=("norm", "pos_embed"))
