"""SegFormer-B3 on Cityscapes, as published: 160k iterations of 8 crops of 1024 x 1024.

Paper: https://arxiv.org/abs/2105.15203
Command: `tools/dist_train.sh configs/segformer_b3_cityscapes.py 8 --cfg-options
model.backbone_options.weights=mit_b3.safetensors` on 8 GPUs, one crop each. On one GPU add train_cfg.accumulate=8, or
train_data.batch_size=8 if its memory allows: an iteration is then the same. The ImageNet weights come from the
authors' mit_b3.pth through tools/convert_weights.py; without them the score is far lower.
Time: not measured here.
Score: 81.7 mIoU on val, single scale, slide (83.3 multi-scale; paper). mmsegmentation's own run: 81.94.
"""

_base_ = "_base_/cityscapes.py"

model = dict(
    backbone="mit_b3",
    decoder="all_mlp",
    num_classes=19,
    backbone_options=dict(drop_path=0.1),
    decoder_options=dict(dim=768, dropout=0.1),
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
