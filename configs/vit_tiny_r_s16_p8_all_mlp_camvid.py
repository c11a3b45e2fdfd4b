"""Hybrid R+Ti and the All-MLP decoder on CamVid: 400 iterations from random weights, as in camvid_short.py.

Command: `python tools/train.py configs/vit_tiny_r_s16_p8_all_mlp_camvid.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "camvid_short.py"

model = dict(backbone="vit_tiny_r_s16_p8")
