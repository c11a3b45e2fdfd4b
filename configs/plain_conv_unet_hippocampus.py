"""nnU-Net's plain U-Net on the Decathlon's Hippocampus: a recipe of our own.

`pip install 'densevit[dna]'` brings the network. It is trained as
mit_b0_unetr_hippocampus.py is, with one learning rate for all.
Paper: https://doi.org/10.1038/s41592-020-01008-z
Command: `python tools/train.py configs/plain_conv_unet_hippocampus.py`.
Time: not measured here.
Score: none published for this recipe.
"""

_base_ = "_base_/hippocampus_whole.py"

model = dict(
    backbone="dna.PlainConvUNet",
    backbone_options=dict(crop_size=(32, 48, 32), deep_supervision=True),
)
