"""CLIP's ResNet-50 and the All-MLP decoder on CamVid: 400 iterations from random weights, as in camvid_short.py.

Command: `python tools/train.py configs/clip_resnet50_all_mlp_camvid.py`; with weights of its authors:
`--cfg-options model.backbone_options.weights=FILE`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "camvid_short.py"

model = dict(backbone="clip_resnet50")
optimizer = dict(no_decay=("norm",))
