"""CLIP's ResNet-50 in 3D on the Decathlon's Hippocampus: the budget of mit_b0_all_mlp_hippocampus.py.

Command: `python tools/train.py configs/clip_resnet50_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="clip_resnet50")
optimizer = dict(no_decay=("norm",))
