"""Plain ViT-B with UPerNet on ADE20K, mmsegmentation's recipe for DeiT-B without a neck: 160k iterations of 16 crops.

All four levels, the outputs of blocks 3, 6, 9 and 12 before any final norm, have stride 16, and so have the logits.
Paper: https://arxiv.org/abs/2012.12877
Command: `tools/dist_train.sh configs/vit_base_uper_ade20k.py 8 --cfg-options
model.backbone_options.weights=deit_base_patch16_224-b5f2ef4d.pth` on 8 GPUs, two crops each. On one GPU add
train_cfg.accumulate=8. The ImageNet weights are DeiT's own file; without them the score is far lower.
Time: not measured here.
Score: 45.36 mIoU on val, single scale, whole (47.16 with flips and scales; mmsegmentation's run from DeiT-B).
"""

_base_ = "_base_/ade20k.py"

model = dict(
    backbone="vit_base",
    decoder="uper",
    num_classes=150,
    backbone_options=dict(drop_path=0.1, norm="none", num_tokens=1),
    decoder_options=dict(dim=512, dropout=0.1),
)
loss = [dict(type="cross_entropy")]
auxiliary = [dict(level=3, dim=256, weight=0.4)]
optimizer = dict(
    type="AdamW",
    lr=6e-5,
    betas=(0.9, 0.999),
    weight_decay=0.01,
    no_decay=("norm", "pos_embed", "cls_token"),
)
schedule = dict(type="poly", power=1.0, min_lr=0.0, warmup_iters=1500, warmup_ratio=1e-6)
train_cfg = dict(max_iters=160_000, val_interval=16_000, checkpoint_interval=4000, log_interval=50)
