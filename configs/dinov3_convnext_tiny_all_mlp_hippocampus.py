"""DINOv3's ConvNeXt-T in 3D on the Decathlon's Hippocampus: the budget of mit_b0_all_mlp_hippocampus.py.

Command: `python tools/train.py configs/dinov3_convnext_tiny_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="dinov3_convnext_tiny")
optimizer = dict(no_decay=("norm", "gamma"))
