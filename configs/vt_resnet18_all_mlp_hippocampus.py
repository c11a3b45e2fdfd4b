"""VT-ResNet-18 and the All-MLP decoder in 3D on Hippocampus: the budget of mit_b0_all_mlp_hippocampus.py.

Command: `python tools/train.py configs/vt_resnet18_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="vt_resnet18")
optimizer = dict(no_decay=("norm",))
