"""A whole network of another package on Hippocampus, with deep supervision: what its config adds is the model."""

_base_ = "hippocampus.py"

model = dict(decoder=None, num_classes=3, in_channels=1, spatial_dims=3)
loss = [dict(type="cross_entropy"), dict(type="dice")]
deep_supervision = dict(weights="halving")
optimizer = dict(type="AdamW", lr=1e-3, betas=(0.9, 0.999), weight_decay=0.01, no_decay=("norm",))
schedule = dict(type="cosine", power=1.0, min_lr=0.0, warmup_iters=50, warmup_ratio=1e-3)
train_cfg = dict(
    max_iters=1800, val_interval=300, checkpoint_interval=300, log_interval=25, clip_grad=1.0, best="mCaseDice"
)
train_data = dict(batch_size=2)
