"""MLP-Mixer S/16 in 3D on the Decathlon's Hippocampus, patches of 8 voxels, as mit_b0_all_mlp_hippocampus.py.

Its cells are mixed over a whole crop, so images are seen in windows of that size.
Command: `python tools/train.py configs/mixer_small_p16_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="mixer_small_p16", backbone_options=dict(patch_size=8, image_size=(64, 96, 64)))
inference = dict(mode="slide", roi_size=(64, 96, 64))
