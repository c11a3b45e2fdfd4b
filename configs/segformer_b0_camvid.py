"""SegFormer-B0 on CamVid, 11 classes: a recipe of our own for a small set, 20k iterations of 8 crops.

Command: `python tools/train.py configs/segformer_b0_camvid.py`, on one GPU. ImageNet weights, from the authors'
mit_b0.pth through tools/convert_weights.py, help much: `--cfg-options
model.backbone_options.weights=mit_b0.safetensors`.
Time: 0.41 s an iteration at a batch of 4 crops of 256 x 256 on two CPU cores (docs/results.md); more was not measured.
Score: none published for this recipe; 36.4 mIoU on the test images after a short CPU run from random weights, with the
options that stand in docs/results.md.
"""

_base_ = "_base_/camvid.py"

model = dict(
    backbone="mit_b0",
    decoder="all_mlp",
    num_classes=11,
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
train_cfg = dict(max_iters=20_000, val_interval=2000, checkpoint_interval=1000, log_interval=50)
