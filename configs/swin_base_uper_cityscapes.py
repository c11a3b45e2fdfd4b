"""Swin-B with UPerNet on Cityscapes: its authors' ADE20K recipe with SegFormer's crops, 160k iterations of 8.

Paper: https://arxiv.org/abs/2103.14030
Command: `tools/dist_train.sh configs/swin_base_uper_cityscapes.py 8 --cfg-options
model.backbone_options.weights=swin_base_patch4_window7_224.pth` on 8 GPUs, one crop each. On one GPU add
train_cfg.accumulate=8. The ImageNet weights are the authors' own file; without them the score is far lower.
Time: not measured here.
Score: none published for this pair and recipe; on ADE20K the authors' repository gives it 48.13 mIoU.
"""

_base_ = "_base_/cityscapes.py"

model = dict(
    backbone="swin_base",
    decoder="uper",
    num_classes=19,
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
