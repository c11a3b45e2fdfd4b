"""MONAI's DynUNet on the Decathlon's Hippocampus: a recipe of our own.

Strides and widths are those that nnU-Net plans for these crops. It is trained as
mit_b0_unetr_hippocampus.py is, with one learning rate for all.
Paper: https://doi.org/10.1038/s41592-020-01008-z
Command: `python tools/train.py configs/dynunet_hippocampus.py`.
Time: not measured here.
Score: none published for this recipe.
"""

_base_ = "_base_/hippocampus_whole.py"

model = dict(
    backbone="monai.DynUNet",
    backbone_options=dict(
        kernel_size=[3, 3, 3, 3],
        strides=[1, 2, 2, 2],
        upsample_kernel_size=[2, 2, 2],
        deep_supervision=True,
        deep_supr_num=2,
    ),
)
