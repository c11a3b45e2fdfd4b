"""Hybrid R+Ti in 3D on the Decathlon's Hippocampus, patches of 8 voxels: the budget of mit_b0_all_mlp_hippocampus.py.

Command: `python tools/train.py configs/vit_tiny_r_s16_p8_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="vit_tiny_r_s16_p8", backbone_options=dict(patch_size=2, image_size=(64, 96, 64)))
optimizer = dict(no_decay=("norm", "pos_embed", "cls_token"))
