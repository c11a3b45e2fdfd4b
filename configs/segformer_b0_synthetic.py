"""SegFormer-B0 on rendered street scenes, from random weights: what tools/quickstart.py trains on two CPU cores.

Command: `python tools/train.py configs/segformer_b0_synthetic.py`, after tools/quickstart.py has made the scenes.
Time: not measured here.
Score: see the README, which states what the quickstart reached.
"""

_base_ = "_base_/synthetic_streets.py"

model = dict(
    backbone="mit_b0",
    decoder="all_mlp",
    num_classes=19,
    backbone_options=dict(drop_path=0.0),
    decoder_options=dict(dim=128, dropout=0.0),
)
loss = [dict(type="cross_entropy")]
optimizer = dict(
    type="AdamW",
    lr=1e-3,
    betas=(0.9, 0.999),
    weight_decay=0.01,
    no_decay=("norm",),
    lr_multipliers=dict(decoder=2.0, head=2.0),
)
schedule = dict(type="poly", power=1.0, min_lr=0.0, warmup_iters=20, warmup_ratio=1e-3)
train_cfg = dict(max_iters=300, val_interval=100, checkpoint_interval=100, log_interval=10, clip_grad=1.0)
