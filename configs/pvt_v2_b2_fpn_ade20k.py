"""PVT v2-B2 with Semantic FPN on ADE20K, as its paper says: 40k iterations of 16 crops of 512 x 512.

There is no official config. The paper's batch is half of what the repository takes for v1, whose weight decay is
taken here.
Paper: https://arxiv.org/abs/2106.13797
Command: `tools/dist_train.sh configs/pvt_v2_b2_fpn_ade20k.py 8 --cfg-options
model.backbone_options.weights=pvt_v2_b2.pth` on 8 GPUs, two crops each. On one GPU add train_cfg.accumulate=8. The
ImageNet weights are the authors' own file; without them the score is far lower.
Time: not measured here.
Score: 45.2 mIoU on val, single scale, whole (paper).
"""

_base_ = "_base_/ade20k.py"

model = dict(
    backbone="pvt_v2_b2",
    decoder="fpn",
    num_classes=150,
    backbone_options=dict(drop_path=0.1),
    decoder_options=dict(dim=256, head_dim=128, dropout=0.1),
)
loss = [dict(type="cross_entropy")]
optimizer = dict(type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=1e-4)  # norms decay too
schedule = dict(type="poly", power=0.9, min_lr=0.0)
train_cfg = dict(max_iters=40_000, val_interval=4000, checkpoint_interval=2000, log_interval=50)
