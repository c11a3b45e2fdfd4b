"""CeiT-T in 3D on the Decathlon's Hippocampus, patches of 16 voxels: the budget of mit_b0_all_mlp_hippocampus.py.

Command: `python tools/train.py configs/ceit_tiny_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="ceit_tiny", backbone_options=dict(image_size=(64, 96, 64)))
optimizer = dict(no_decay=("norm", "pos_embed", "cls_token"))
