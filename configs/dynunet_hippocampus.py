"""MONAI's DynUNet on the Decathlon's Hippocampus: a recipe of our own.

Strides and widths are those that nnU-Net plans for these crops. It is trained as
mit_b0_unetr_hippocampus.py is.
Paper: https://doi.org/10.1038/s41592-020-01008-z
Command: `python tools/train.py configs/dynunet_hippocampus.py`.
Time: not measured here.
Score: none published for this recipe.
"""

_base_ = "_base_/hippocampus.py"

model = dict(
    backbone="monai.DynUNet",
    decoder=None,
    num_classes=3,
    in_channels=1,
    spatial_dims=3,
    backbone_options=dict(
        kernel_size=[3, 3, 3, 3],
        strides=[1, 2, 2, 2],
        upsample_kernel_size=[2, 2, 2],
        deep_supervision=True,
        deep_supr_num=2,
    ),
)
loss = [dict(type="cross_entropy"), dict(type="dice")]
deep_supervision = dict(weights="halving")
optimizer = dict(type="AdamW", lr=1e-3, betas=(0.9, 0.999), weight_decay=0.01, no_decay=("norm",))
schedule = dict(type="cosine", power=1.0, min_lr=0.0, warmup_iters=50, warmup_ratio=1e-3)
train_cfg = dict(
    max_iters=1800, val_interval=300, checkpoint_interval=300, log_interval=25, clip_grad=1.0, best="mCaseDice"
)
train_data = dict(batch_size=2)
