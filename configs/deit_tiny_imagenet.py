"""DeiT-Ti on ImageNet: 300 epochs of 1024 images a step, without a teacher.

Paper: https://arxiv.org/abs/2012.12877
Command: `torchrun --nproc_per_node 8 tools/train.py configs/deit_tiny_imagenet.py --launcher pytorch`.
Time: not measured here.
Score: 72.2 top1 in its repository. RandAugment draws its strengths in another way here (docs/classify.md).
"""

task = "classify"
model = dict(backbone="deit_tiny", num_classes=1000, backbone_options=dict(drop_path=0.1))
optimizer = dict(type="AdamW", lr=1e-3, weight_decay=0.05, no_decay=("norm", "bias", "pos_embed", "cls_token"))
schedule = dict(type="cosine", min_lr=1e-5, warmup_iters=6255, warmup_ratio=1e-3)
train_cfg = dict(max_iters=375_300, val_interval=12_510, checkpoint_interval=2502, ema=0.99996)
train_data = dict(
    dataset=dict(type="class_folder", root="data/imagenet", split="train"),
    augment=dict(crop_size=(224, 224), rand_augment=dict(magnitude=9, count=2), erase=0.25),
    batch_size=128,
    num_workers=8,
    repeats=3,
)
val_data = dict(dataset=dict(type="class_folder", root="data/imagenet", split="val"), batch_size=128)
view = dict(size=(224, 224))
label_smoothing = 0.1
mixing = dict(mixup=0.8, cutmix=1.0)
