"""TimeSformer's ViT of single frames and the All-MLP decoder on CamVid: 400 iterations as in camvid_short.py.

Command: `python tools/train.py configs/timesformer_base_all_mlp_camvid.py`; with weights of a ViT-B/16 that has a class
token: `--cfg-options model.backbone_options.weights=FILE`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "camvid_short.py"

model = dict(backbone="timesformer_base")
optimizer = dict(no_decay=("norm", "pos_embed", "cls_token"))
