"""VT-ResNet-18 on ImageNet by the long recipe: 400 epochs of 2048 images a step with RMSProp.

The paper distils from FBNetV3-G and has AutoAugment and dropout as well, which this leaves out. It says nothing of
RMSProp's momentum, alpha, eps and decay, which are ours.
Paper: https://arxiv.org/abs/2006.03677
Command: `torchrun --nproc_per_node 8 tools/train.py configs/vt_resnet18_imagenet_long.py --launcher pytorch`.
Time: not measured here.
Score: 76.8 top1 in the paper, with the teacher.
"""

_base_ = "vt_resnet18_imagenet.py"

model = dict(backbone_options=dict(drop_path=0.1))
# Rises from 0.01 to 0.16 in 5 epochs of 625 steps, then falls by 0.9875 an epoch: to 0.007 of it after 395.
optimizer = dict(_delete_=True, type="RMSprop", lr=0.16, momentum=0.9, alpha=0.9, eps=1e-3, weight_decay=1e-5)
schedule = dict(type="exponential", power=0.00696, warmup_iters=3125, warmup_ratio=0.0625)
train_cfg = dict(max_iters=250_000, val_interval=6250, checkpoint_interval=2500, ema=0.99985)
train_data = dict(augment=dict(crop_size=(224, 224), rand_augment=dict(magnitude=9, count=2)))
label_smoothing = 0.1
