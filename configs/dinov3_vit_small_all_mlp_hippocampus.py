"""DINOv3 ViT-S in 3D on the Decathlon's Hippocampus, patches of 8 voxels: the budget of mit_b0_all_mlp_hippocampus.py.

From random weights all three axes share the angles (`inflated=False`); weights of pictures take the default, patches of
16 and `weights=dict(path=FILE, inflate="center", adapt_channels="sum")`.
Command: `python tools/train.py configs/dinov3_vit_small_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="dinov3_vit_small", backbone_options=dict(patch_size=8, inflated=False))
optimizer = dict(no_decay=("norm", "gamma", "qv_bias", "cls_token", "reg_token"))
