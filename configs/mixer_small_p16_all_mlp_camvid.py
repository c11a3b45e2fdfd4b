"""MLP-Mixer S/16 and the All-MLP decoder on CamVid: 400 iterations from random weights, as in camvid_short.py.

Its cells are mixed over a whole crop, so images are seen in windows of that size.
Command: `python tools/train.py configs/mixer_small_p16_all_mlp_camvid.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "camvid_short.py"

model = dict(backbone="mixer_small_p16", backbone_options=dict(image_size=(128, 160)))
inference = dict(mode="slide", roi_size=(128, 160), stride=(52, 80))
