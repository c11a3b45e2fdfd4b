"""Swin UNETR (tiny) on the Decathlon's Hippocampus: a recipe of our own for one CPU core, 1800 iterations of 2 crops.

Paper: https://arxiv.org/abs/2201.01266
Command: `python tools/train.py configs/swin_unetr_hippocampus.py`.
Time: 13 minutes of one CPU core, with windows of 4 voxels an axis in place of 7.
Score: none published for this recipe; 86.7 % mean Dice of anterior (87.9) and posterior (85.5) over 29 validation
cases, after training on 180.
"""

_base_ = "_base_/hippocampus.py"

model = dict(
    backbone="swin_unetr_tiny",
    decoder="unetr",
    num_classes=3,
    in_channels=1,
    spatial_dims=3,
    backbone_options=dict(window_size=4),
)
loss = [dict(type="cross_entropy"), dict(type="dice")]
optimizer = dict(
    type="AdamW",
    lr=1e-3,
    betas=(0.9, 0.999),
    weight_decay=0.01,
    no_decay=("norm", "relative_position_bias_table"),
    lr_multipliers=dict(head=10.0),  # it reads 12 channels: its few weights have far to go
)
schedule = dict(type="cosine", power=1.0, min_lr=0.0, warmup_iters=50, warmup_ratio=1e-3)
train_cfg = dict(
    max_iters=1800, val_interval=600, checkpoint_interval=100, log_interval=25, clip_grad=1.0, best="mCaseDice"
)
train_data = dict(batch_size=2)
