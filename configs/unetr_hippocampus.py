"""UNETR with a small ViT on the Decathlon's Hippocampus: a recipe of our own for volumes smaller than its 96 voxels.

Patches of 8 voxels, and deep supervision on the decoder's maps, which the paper has not.
Paper: https://arxiv.org/abs/2103.10504
Command: `python tools/train.py configs/unetr_hippocampus.py`.
Time: not measured here.
Score: none published for this recipe.
"""

_base_ = "_base_/hippocampus.py"

model = dict(
    backbone="vit_tiny",
    decoder="unetr",
    num_classes=3,
    in_channels=1,
    spatial_dims=3,
    backbone_options=dict(patch_size=8, image_size=(32, 48, 32)),
    decoder_options=dict(dim=16),
)
loss = [dict(type="cross_entropy"), dict(type="dice")]
deep_supervision = dict(weights="halving")
optimizer = dict(
    type="AdamW",
    lr=5e-4,
    betas=(0.9, 0.999),
    weight_decay=0.01,
    no_decay=("norm", "pos_embed", "cls_token"),
    lr_multipliers=dict(head=10.0, auxiliary=10.0),
)
schedule = dict(type="cosine", power=1.0, min_lr=0.0, warmup_iters=50, warmup_ratio=1e-3)
train_cfg = dict(
    max_iters=1200, val_interval=300, checkpoint_interval=100, log_interval=25, clip_grad=1.0, best="mCaseDice"
)
train_data = dict(batch_size=2)
