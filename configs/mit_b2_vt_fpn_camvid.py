"""MiT-B2 with VT-FPN on CamVid, 11 classes: a recipe of our own for a small set, 20k iterations of 8 crops.

Paper: https://arxiv.org/abs/2006.03677
Command: `python tools/train.py configs/mit_b2_vt_fpn_camvid.py`, on one GPU. ImageNet weights, the authors' mit_b2.pth,
help much: `--cfg-options model.backbone_options.weights=mit_b2.pth`.
Time: not measured here.
Score: none published for this recipe.
"""

_base_ = "_base_/camvid.py"

model = dict(
    backbone="mit_b2",
    decoder="vt_fpn",
    num_classes=11,
    backbone_options=dict(drop_path=0.1),
    decoder_options=dict(dim=256, num_tokens=8, token_dim=256, dropout=0.1),
)
loss = [dict(type="cross_entropy")]
optimizer = dict(
    type="AdamW",
    lr=6e-5,
    betas=(0.9, 0.999),
    weight_decay=0.01,
    no_decay=("norm",),
    lr_multipliers=dict(decoder=10.0, head=10.0),
)
schedule = dict(type="poly", power=1.0, min_lr=0.0, warmup_iters=1500, warmup_ratio=1e-6)
train_cfg = dict(max_iters=20_000, val_interval=2000, checkpoint_interval=1000, log_interval=50)
