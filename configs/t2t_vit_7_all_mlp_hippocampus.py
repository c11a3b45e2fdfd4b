"""T2T-ViT-7 in 3D on the Decathlon's Hippocampus, cells of 16 voxels: the budget of mit_b0_all_mlp_hippocampus.py.

Command: `python tools/train.py configs/t2t_vit_7_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="t2t_vit_7", backbone_options=dict(image_size=(64, 96, 64)))
optimizer = dict(no_decay=("norm", "cls_token"))
