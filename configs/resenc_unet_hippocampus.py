"""nnU-Net's residual encoder U-Net on the Decathlon's Hippocampus: a recipe of our own.

It is the network of the presets ResEnc M, L and XL for these crops; `pip install 'densevit[dna]'` brings it. It is
trained as mit_b0_unetr_hippocampus.py is, with one learning rate for all.
Paper: https://arxiv.org/abs/2404.09556
Command: `python tools/train.py configs/resenc_unet_hippocampus.py`.
Time: not measured here.
Score: none published for this recipe.
"""

_base_ = "_base_/hippocampus_whole.py"

model = dict(
    backbone="dna.ResEncUNet",
    backbone_options=dict(crop_size=(32, 48, 32), deep_supervision=True),
)
