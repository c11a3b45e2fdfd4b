"""CaiT-XXS24 in 3D on the Decathlon's Hippocampus, patches of 8 voxels: the budget of mit_b0_all_mlp_hippocampus.py.

Command: `python tools/train.py configs/cait_xxs24_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="cait_xxs24", backbone_options=dict(patch_size=8, image_size=(64, 96, 64)))
optimizer = dict(no_decay=("norm", "gamma", "pos_embed"))
