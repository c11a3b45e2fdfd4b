"""Swin-S with UPerNet on ADE20K, as published: 160k iterations of 16 crops of 512 x 512, auxiliary head on level 2.

Paper: https://arxiv.org/abs/2103.14030
Command: `tools/dist_train.sh configs/swin_small_uper_ade20k.py 8 --cfg-options
model.backbone_options.weights=swin_small_patch4_window7_224.pth` on 8 GPUs, two crops each. On one GPU add
train_cfg.accumulate=8. The ImageNet weights are the authors' own file; without them the score is far lower.
Time: not measured here.
Score: 47.64 mIoU on val, single scale, whole (49.47 multi-scale; the authors' repository).
mmsegmentation's own run: 47.72.
"""

_base_ = "_base_/ade20k.py"

model = dict(
    backbone="swin_small",
    decoder="uper",
    num_classes=150,
    backbone_options=dict(drop_path=0.3),
    decoder_options=dict(dim=512, dropout=0.1),
)
loss = [dict(type="cross_entropy")]
auxiliary = [dict(level=2, dim=256, weight=0.4)]
optimizer = dict(
    type="AdamW",
    lr=6e-5,
    betas=(0.9, 0.999),
    weight_decay=0.01,
    no_decay=("norm", "relative_position_bias_table", "pos_embed"),
)
schedule = dict(type="poly", power=1.0, min_lr=0.0, warmup_iters=1500, warmup_ratio=1e-6)
train_cfg = dict(max_iters=160_000, val_interval=16_000, checkpoint_interval=4000, log_interval=50)
