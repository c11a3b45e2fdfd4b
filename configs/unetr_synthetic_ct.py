"""UNETR with a small ViT on drawn CT scans, from random weights: what tools/quickstart.py --task ct trains.

Four blocks of width 192 over patches of 8 voxels, deep supervision, and a cross entropy in which small structures
weigh more: with plain sums the aorta, 0.3 % of the voxels, is found late or never.
Paper: https://arxiv.org/abs/2103.10504
Command: `python tools/train.py configs/unetr_synthetic_ct.py`, after tools/quickstart.py --task ct has made the scans.
Time: 600 iterations in five minutes of two CPU cores.
Score: none published for this recipe; 74.9 % mean Dice of nine structures over the 8 validation scans of the
quickstart, where the commonest class at each place of the body has 51.9.
"""

_base_ = "_base_/synthetic_ct.py"

model = dict(
    backbone="vit_tiny",
    decoder="unetr",
    num_classes=10,
    in_channels=1,
    spatial_dims=3,
    backbone_options=dict(depth=4, patch_size=8, image_size=(32, 48, 64)),
    decoder_options=dict(dim=8),
)
loss = [
    # background, lungs, heart, aorta, liver, spleen, left kidney, right kidney, bone, tumour
    dict(type="cross_entropy", class_weights=(0.4, 1.0, 1.5, 2.5, 1.0, 2.2, 2.4, 2.4, 1.3, 4.0)),
    dict(type="dice", per_image=False, include_background=False),
]
deep_supervision = dict(weights="halving")
optimizer = dict(
    type="AdamW",
    lr=2e-3,
    betas=(0.9, 0.999),
    weight_decay=0.01,
    no_decay=("norm", "pos_embed", "cls_token"),
    lr_multipliers=dict(decoder=1.5, head=10.0, auxiliary=10.0),
)
schedule = dict(type="cosine", power=1.0, min_lr=0.0, warmup_iters=60, warmup_ratio=1e-3)
train_cfg = dict(
    max_iters=600, val_interval=300, checkpoint_interval=300, log_interval=20, clip_grad=1.0, best="mCaseDice"
)
