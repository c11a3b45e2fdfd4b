"""PVT-Small with Semantic FPN on ADE20K, as its authors' code has it: 40k iterations of 32 crops of 512 x 512.

Paper: https://arxiv.org/abs/2102.12122
Command: `tools/dist_train.sh configs/pvt_v1_small_fpn_ade20k.py 8 --cfg-options
model.backbone_options.weights=pvt_small.pth` on 8 GPUs, four crops each. On one GPU add train_cfg.accumulate=8. The
ImageNet weights are the authors' own file; without them the score is far lower.
Time: not measured here.
Score: 41.9 mIoU on val, single scale, whole (the authors' repository; the paper prints 39.8).
"""

_base_ = "_base_/ade20k.py"

model = dict(
    backbone="pvt_v1_small",
    decoder="fpn",
    num_classes=150,
    backbone_options=dict(drop_path=0.1),
    decoder_options=dict(dim=256, head_dim=128, dropout=0.1),
)
loss = [dict(type="cross_entropy")]
optimizer = dict(type="AdamW", lr=2e-4, betas=(0.9, 0.999), weight_decay=1e-4)  # norms decay too
schedule = dict(type="poly", power=0.9, min_lr=0.0)
train_cfg = dict(max_iters=40_000, val_interval=4000, checkpoint_interval=2000, log_interval=50)
train_data = dict(batch_size=4)
