"""CamVid with a short budget, the same for any backbone and decoder: 400 iterations of 4 crops from random weights.

Pictures are used at half their size, and every decoder is 128 wide. The scores tell how fast a model begins to learn,
not how good it gets: nothing is pretrained, and 400 iterations are a hundredth of a usual schedule.
Command: `python tools/train.py configs/camvid_short.py` trains the one named below, and
`python tools/train_grid.py --out work_dirs/camvid_grid` four backbones and three decoders in turn.
Time: about an hour on one CPU core for all twelve.
Score: none published; docs/results.md holds the table of a run.
"""

_base_ = "_base_/camvid.py"

model = dict(backbone="mit_b0", decoder="all_mlp", num_classes=11, decoder_options=dict(dim=128))
loss = [dict(type="cross_entropy")]
optimizer = dict(
    type="AdamW",
    lr=6e-4,
    betas=(0.9, 0.999),
    weight_decay=0.01,
    no_decay=("norm", "relative_position_bias_table", "rel_pos", "pos_embed", "cls_token"),
)
schedule = dict(type="poly", power=1.0, min_lr=0.0, warmup_iters=50, warmup_ratio=1e-3)
train_cfg = dict(max_iters=400, val_interval=400, checkpoint_interval=100, log_interval=20, clip_grad=1.0, max_keep=1)
train_data = dict(
    augment=dict(base_size=(180, 240), crop_size=(128, 160), scale=(0.75, 1.5)),
    batch_size=4,
    num_workers=0,
)
val_data = dict(num_workers=0)
inference = dict(base_size=(180, 240))
visualization = dict(tensorboard=False, num_images=0)
