"""SegFormer-B0 on ADE20K, as published: 160k iterations of 16 crops of 512 x 512.

Paper: https://arxiv.org/abs/2105.15203
Command: `tools/dist_train.sh configs/segformer_b0_ade20k.py 8 --cfg-options
model.backbone_options.weights=mit_b0.safetensors` on 8 GPUs, two crops each. On one GPU add train_cfg.accumulate=8.
The ImageNet weights come from the authors' mit_b0.pth through tools/convert_weights.py; without them the score is far
lower.
Time: not measured here.
Score: 37.4 mIoU on val, single scale, whole (38.0 multi-scale; paper). mmsegmentation's own run: 37.41.
"""

_base_ = "_base_/ade20k.py"

model = dict(
    backbone="mit_b0",
    decoder="all_mlp",
    num_classes=150,
    backbone_options=dict(drop_path=0.1),
    decoder_options=dict(dim=256, dropout=0.1),
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
