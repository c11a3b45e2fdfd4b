"""UNETR on BTCV by the recipe of its published code, which is not that of the paper (1 mm, HU -1000 to 1000).

Paper: https://arxiv.org/abs/2103.10504
Command: `python tools/train.py configs/unetr_btcv.py`.
Time: not measured here; 120000 iterations of 4 crops are its 5000 epochs over 24 cases.
Score: the paper has 85.6 % mean Dice on the test server in the standard competition; its recipe and an ensemble differ.
What differs here: crops come from four cases at a time, not four from one; no quarter turns; empty borders are not cut
off; Dice has plain sums where the published code has squares.
"""

_base_ = "_base_/btcv.py"

model = dict(
    backbone="unetr_vit_base",
    decoder="unetr",
    num_classes=14,
    in_channels=1,
    spatial_dims=3,
    backbone_options=dict(image_size=(96, 96, 96)),
    decoder_options=dict(dim=16),
)
loss = [dict(type="cross_entropy"), dict(type="dice")]
optimizer = dict(type="AdamW", lr=1e-4, weight_decay=1e-5)
schedule = dict(type="cosine", warmup_iters=1200, warmup_ratio=1e-6)
train_cfg = dict(
    max_iters=120000, val_interval=2400, checkpoint_interval=2400, log_interval=100, amp="bf16", best="mCaseDice"
)
