"""Primus V3 (small) on the Decathlon's Hippocampus: a recipe of our own, 1200 iterations of 2 crops.

As published: decoder, stochastic depth, learning rate, decay of all weights. Its crops have only 4 x 6 x 4 tokens.
Paper: https://arxiv.org/abs/2503.01835
Command: `python tools/train.py configs/primus_v3_small_hippocampus.py`.
Time: not measured here.
Score: none published for this recipe.
"""

_base_ = "_base_/hippocampus.py"

model = dict(
    backbone="primus_v3_small",
    decoder="patch_decode",
    num_classes=3,
    in_channels=1,
    spatial_dims=3,
    backbone_options=dict(image_size=(32, 48, 32), drop_path=0.2),
)
loss = [dict(type="cross_entropy"), dict(type="dice")]
optimizer = dict(type="AdamW", lr=3e-4, betas=(0.9, 0.98), weight_decay=0.05)
schedule = dict(type="poly", power=0.9, min_lr=0.0, warmup_iters=50, warmup_ratio=1e-3)
train_cfg = dict(
    max_iters=1200, val_interval=300, checkpoint_interval=300, log_interval=25, clip_grad=1.0, best="mCaseDice"
)
train_data = dict(batch_size=2)
