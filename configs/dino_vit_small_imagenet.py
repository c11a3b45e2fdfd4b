"""DINO with ViT-S/16 on ImageNet, 100 epochs of 1024 images a step: the short recipe of its authors.

Paper: https://arxiv.org/abs/2104.14294
Command: `torchrun --nproc_per_node 8 tools/train.py configs/dino_vit_small_imagenet.py --launcher pytorch`.
Time: not measured here.
Score: 69.3 top1 of 20 neighbours and 74.0 linear in its repository, after 100 epochs with its default settings.
Colours are jittered by albumentations here, not by torchvision.
"""

task = "dino"
model = dict(backbone="vit_small", backbone_options=dict(resizing="dino", drop_path=0.1))
head = dict(out_dim=65536, hidden_dim=2048, bottleneck_dim=256, num_layers=3, norm_last_layer=True)
teacher = dict(momentum=0.996, temperature=0.04, centre_momentum=0.9)
student_temperature = 0.1
freeze_last_layer_iters = 1251
optimizer = dict(type="AdamW", lr=2e-3, weight_decay=0.04, no_decay=("norm", "bias"))
schedule = dict(type="cosine", min_lr=1e-6, warmup_iters=12_510, warmup_ratio=1e-6, end_weight_decay=0.4)
train_cfg = dict(
    max_iters=125_100, val_interval=12_510, checkpoint_interval=1251, clip_grad=3.0, clip_each=True, amp="fp16"
)
train_data = dict(
    dataset=dict(type="class_folder", root="data/imagenet", split="train"),
    augment=dict(global_size=(224, 224), local_size=(96, 96), num_locals=8),
    batch_size=128,
    num_workers=8,
)
val_data = dict(dataset=dict(type="class_folder", root="data/imagenet", split="val"), batch_size=128)
view = dict(size=(224, 224))
