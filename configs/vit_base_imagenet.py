"""ViT-B/16 on ImageNet: 300 epochs of 4096 images a step, as DeiT's table of recipes has it for ViT, without dropout.

Paper: https://arxiv.org/abs/2010.11929
Command: `torchrun --nproc_per_node 8 tools/train.py configs/vit_base_imagenet.py --launcher pytorch`.
Time: not measured here.
Score: none published for this recipe, which has the rates, the decay and the batch of the table and no dropout.
"""

task = "classify"
model = dict(backbone="vit_base", num_classes=1000)
optimizer = dict(type="AdamW", lr=3e-3, weight_decay=0.3, no_decay=("norm", "bias", "pos_embed", "cls_token"))
schedule = dict(type="cosine", warmup_iters=1063, warmup_ratio=1e-3)
train_cfg = dict(max_iters=93_836, val_interval=3128, checkpoint_interval=625, accumulate=4, clip_grad=1.0)
train_data = dict(
    dataset=dict(type="class_folder", root="data/imagenet", split="train"),
    augment=dict(crop_size=(224, 224)),
    batch_size=128,
    num_workers=8,
)
val_data = dict(dataset=dict(type="class_folder", root="data/imagenet", split="val"), batch_size=128)
view = dict(size=(224, 224))
