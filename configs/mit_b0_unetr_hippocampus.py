"""MiT-B0 with UNETR's decoder, in 3D, on the Decathlon's Hippocampus: a recipe of our own for one CPU core.

The decoder gets the volume itself beside the backbone's maps, so that borders are drawn at full resolution.
Command: `python tools/train.py configs/mit_b0_unetr_hippocampus.py`.
Time: 3 minutes of an H100 that four runs shared.
Score: none published for this recipe; 87.0 % mean Dice of anterior (88.5) and posterior (85.5) over 29 validation
cases, after training on 180.
"""

_base_ = "_base_/hippocampus.py"

model = dict(
    backbone="mit_b0",
    decoder="unetr",
    num_classes=3,
    in_channels=1,
    spatial_dims=3,
    decoder_options=dict(dim=16),
)
loss = [dict(type="cross_entropy"), dict(type="dice")]
deep_supervision = dict(weights="halving")
optimizer = dict(
    type="AdamW",
    lr=1e-3,
    betas=(0.9, 0.999),
    weight_decay=0.01,
    no_decay=("norm",),
    lr_multipliers=dict(head=10.0, auxiliary=10.0),
)
schedule = dict(type="cosine", power=1.0, min_lr=0.0, warmup_iters=50, warmup_ratio=1e-3)
train_cfg = dict(
    max_iters=1800, val_interval=300, checkpoint_interval=300, log_interval=25, clip_grad=1.0, best="mCaseDice"
)
train_data = dict(batch_size=2)
