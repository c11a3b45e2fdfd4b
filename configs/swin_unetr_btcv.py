"""Swin UNETR (base, 48 channels) on BTCV, from random weights.

Paper: https://arxiv.org/abs/2201.01266
Command: `python tools/train.py configs/swin_unetr_btcv.py`.
Time: not measured here; 120000 iterations of 4 crops are its 5000 epochs over 24 cases.
Score: 81.9 % mean Dice of its fold 0, published for weights pre-trained by self-supervision, which this recipe has not;
they load with `load_from`, and then need backbone_options=dict(merge_order="legacy").
What differs here: as in unetr_btcv.py.
"""

_base_ = "_base_/btcv.py"

model = dict(backbone="swin_unetr_base", decoder="unetr", num_classes=14, in_channels=1, spatial_dims=3)
loss = [dict(type="cross_entropy"), dict(type="dice")]
optimizer = dict(type="AdamW", lr=1e-4, weight_decay=1e-5)
schedule = dict(type="cosine", warmup_iters=1200, warmup_ratio=1e-6)
train_cfg = dict(
    max_iters=120000,
    val_interval=2400,
    checkpoint_interval=2400,
    log_interval=100,
    amp="bf16",
    checkpointing=True,
    best="mCaseDice",
)
