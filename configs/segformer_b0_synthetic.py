"""SegFormer-B0 on rendered street scenes, from random weights: what tools/quickstart.py trains on two CPU cores.

Command: `python tools/train.py configs/segformer_b0_synthetic.py`, after tools/quickstart.py has made the scenes.
Time: six minutes on two CPU cores, rendering, testing included (docs/results.md).
Score: 46.8 mIoU on the 60 validation scenes; always "road" has 1.5 (docs/results.md).
"""

_base_ = "_base_/synthetic_streets.py"

model = dict(
    backbone="mit_b0",
    decoder="all_mlp",
    num_classes=19,
    decoder_options=dict(dropout=0.0),
)
loss = [dict(type="cross_entropy")]
optimizer = dict(
    type="AdamW", lr=1e-3, betas=(0.9, 0.999), weight_decay=0.01, no_decay=("norm",), lr_multipliers=dict(head=10.0)
)
schedule = dict(type="poly", power=1.0, min_lr=0.0, warmup_iters=50, warmup_ratio=1e-3)
train_cfg = dict(max_iters=1800, val_interval=600, checkpoint_interval=600, log_interval=20, clip_grad=1.0)
