"""EVA-02 Ti in 3D on the Decathlon's Hippocampus, patches of 8 voxels: the budget of mit_b0_all_mlp_hippocampus.py.

From random weights all three axes share the angles (`inflated=False`).
Command: `python tools/train.py configs/eva02_tiny_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="eva02_tiny", backbone_options=dict(patch_size=8, image_size=(64, 96, 64), inflated=False))
optimizer = dict(no_decay=("norm", "gamma", "qv_bias", "pos_embed", "cls_token", "reg_token"))
