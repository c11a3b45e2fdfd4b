"""MedNeXt-S with kernels of 3, from MONAI, on the Decathlon's Hippocampus: a recipe of our own.

It is trained as mit_b0_unetr_hippocampus.py is.
Paper: https://arxiv.org/abs/2303.09975
Command: `python tools/train.py configs/mednext_small_hippocampus.py`.
Time: not measured here.
Score: none published for this recipe.
"""

_base_ = "_base_/hippocampus.py"

model = dict(
    backbone="monai.MedNeXtS",
    decoder=None,
    num_classes=3,
    in_channels=1,
    spatial_dims=3,
    backbone_options=dict(deep_supervision=True),
)
loss = [dict(type="cross_entropy"), dict(type="dice")]
deep_supervision = dict(weights="halving")
optimizer = dict(type="AdamW", lr=1e-3, betas=(0.9, 0.999), weight_decay=0.01, no_decay=("norm",))
schedule = dict(type="cosine", power=1.0, min_lr=0.0, warmup_iters=50, warmup_ratio=1e-3)
train_cfg = dict(
    max_iters=1800, val_interval=300, checkpoint_interval=300, log_interval=25, clip_grad=1.0, best="mCaseDice"
)
train_data = dict(batch_size=2)
