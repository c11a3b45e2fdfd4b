"""BiT R50x1 and the All-MLP decoder on CamVid: 400 iterations from random weights, as in camvid_short.py.

Command: `python tools/train.py configs/bit_r50x1_all_mlp_camvid.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "camvid_short.py"

model = dict(backbone="bit_r50x1")
optimizer = dict(no_decay=("norm",))
