"""VT-ResNet-18 on ImageNet by the basic recipe: 90 epochs of 256 images a step with SGD.

Paper: https://arxiv.org/abs/2006.03677
Command: `python tools/train.py configs/vt_resnet18_imagenet.py`.
Time: not measured here.
Score: 72.0 top1 in the paper, whose network has fewer parameters (densevit/backbones/vt_resnet.py says why).
"""

task = "classify"
model = dict(backbone="vt_resnet18", num_classes=1000)
optimizer = dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=4e-5)
schedule = dict(type="cosine")
train_cfg = dict(max_iters=450_450, val_interval=15_015, checkpoint_interval=5005)
train_data = dict(
    dataset=dict(type="class_folder", root="data/imagenet", split="train"),
    augment=dict(crop_size=(224, 224)),
    batch_size=256,
    num_workers=8,
)
val_data = dict(dataset=dict(type="class_folder", root="data/imagenet", split="val"), batch_size=128)
view = dict(size=(224, 224))
