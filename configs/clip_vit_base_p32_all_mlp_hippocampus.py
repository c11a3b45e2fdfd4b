"""The ViT-B/32 of CLIP in 3D on the Decathlon's Hippocampus, patches of 16: as mit_b0_all_mlp_hippocampus.py.

Command: `python tools/train.py configs/clip_vit_base_p32_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="clip_vit_base_p32", backbone_options=dict(patch_size=16, image_size=(64, 96, 64)))
optimizer = dict(no_decay=("norm", "pos_embed", "cls_token"))
