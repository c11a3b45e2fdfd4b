"""PVT v2-B2 with VT-FPN on Cityscapes, by SegFormer's recipe: 160k iterations of 8 crops of 1024 x 1024.

Paper: https://arxiv.org/abs/2006.03677
Command: `tools/dist_train.sh configs/pvt_v2_b2_vt_fpn_cityscapes.py 8 --cfg-options
model.backbone_options.weights=pvt_v2_b2.pth` on 8 GPUs, one crop each. On one GPU add train_cfg.accumulate=8. The
ImageNet weights are the authors' own file; without them the score is far lower.
Time: not measured here.
Score: none published for this pair.
"""

_base_ = "_base_/cityscapes.py"

model = dict(
    backbone="pvt_v2_b2",
    decoder="vt_fpn",
    num_classes=19,
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
train_cfg = dict(max_iters=160_000, val_interval=16_000, checkpoint_interval=4000, log_interval=50)
