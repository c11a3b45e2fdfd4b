"""DeiT-Ti and the All-MLP decoder on CamVid: 400 iterations from random weights, as in camvid_short.py.

Command: `python tools/train.py configs/deit_tiny_all_mlp_camvid.py`; with published weights:
`--cfg-options model.backbone_options.weights=FILE`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "camvid_short.py"

model = dict(backbone="deit_tiny")
