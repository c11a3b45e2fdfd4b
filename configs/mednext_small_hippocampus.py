"""MedNeXt-S with kernels of 3, from MONAI, on the Decathlon's Hippocampus: a recipe of our own.

It is trained as mit_b0_unetr_hippocampus.py is, with one learning rate for all.
Paper: https://arxiv.org/abs/2303.09975
Command: `python tools/train.py configs/mednext_small_hippocampus.py`.
Time: not measured here.
Score: none published for this recipe.
"""

_base_ = "_base_/hippocampus_whole.py"

model = dict(
    backbone="monai.MedNeXtS",
    backbone_options=dict(deep_supervision=True),
)
