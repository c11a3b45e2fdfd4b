"""SegFormer-B0 in 3D on the Decathlon's Hippocampus: a recipe of our own for one CPU core, 2400 iterations of 2 crops.

The hippocampus is a few voxels thick and the network's first stride is 4, so it is shown everything at twice the
resolution: training crops are zoomed by about 2, and so is the whole volume at validation (`inference.scales`).
Command: `python tools/train.py configs/mit_b0_all_mlp_hippocampus.py`.
Time: 20 minutes of one CPU core.
Score: none published for this recipe; 86.5 % mean Dice of anterior (87.6) and posterior (85.4) over 29 validation
cases, after training on 180.
"""

_base_ = "_base_/hippocampus.py"

model = dict(
    backbone="mit_b0",
    decoder="all_mlp",
    num_classes=3,
    in_channels=1,
    spatial_dims=3,
    decoder_options=dict(dim=128, dropout=0.0),
)
loss = [dict(type="cross_entropy"), dict(type="dice")]
optimizer = dict(type="AdamW", lr=1e-3, betas=(0.9, 0.999), weight_decay=0.01, no_decay=("norm",))
schedule = dict(type="poly", power=1.0, min_lr=0.0, warmup_iters=100, warmup_ratio=1e-3)
train_cfg = dict(
    max_iters=2400, val_interval=600, checkpoint_interval=300, log_interval=50, clip_grad=1.0, best="mCaseDice"
)
train_data = dict(augment=dict(crop_size=(64, 96, 64), scale=(1.7, 2.3)), batch_size=2)
inference = dict(scales=(2.0,))
