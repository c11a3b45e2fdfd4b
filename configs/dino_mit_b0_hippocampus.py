"""DINO with MiT-B0 in 3D on the training scans of the Decathlon's Hippocampus, whose labels are not read.

The scans are about 35 x 50 x 36 voxels and the network's strides 4 to 32, so views are zoomed, as in
configs/mit_b0_all_mlp_hippocampus.py. They differ in place, zoom, rotation, contrast, brightness and noise.
Command: `densevit train configs/dino_mit_b0_hippocampus.py`; what starts from it says
`model.backbone_options.weights=work_dirs/dino_mit_b0_hippocampus`.
Time: not measured to its end here.
Score: none published for this recipe.
"""

task = "dino"
model = dict(backbone="mit_b0", in_channels=1, spatial_dims=3)
head = dict(out_dim=1024, hidden_dim=512, bottleneck_dim=128)
teacher = dict(momentum=0.996, temperature=0.02, first_temperature=0.02)
freeze_last_layer_iters = 20
optimizer = dict(type="AdamW", lr=2.5e-4, weight_decay=0.04, no_decay=("norm", "bias"))
schedule = dict(type="cosine", min_lr=1e-6, warmup_iters=100, warmup_ratio=1e-3, end_weight_decay=0.4)
train_cfg = dict(
    max_iters=1000,
    val_interval=500,
    checkpoint_interval=250,
    log_interval=10,
    clip_grad=3.0,
    clip_each=True,
    best="mIoU",
)
train_data = dict(
    dataset=dict(type="msd", root="data/Task04_Hippocampus", split="train"),
    augment=dict(
        global_view=dict(
            crop_size=(64, 64, 64), scale=(1.2, 2.0), rotate=15.0, flips=(0.0, 0.0, 0.5), intensity=0.3, noise=0.2
        ),
        local_view=dict(
            crop_size=(32, 32, 32), scale=(1.5, 2.5), rotate=15.0, flips=(0.0, 0.0, 0.5), intensity=0.3, noise=0.2
        ),
        num_locals=4,
    ),
    batch_size=8,
    num_workers=0,
)
val_data = dict(dataset=dict(type="msd", root="data/Task04_Hippocampus", split="val"), num_workers=0)
view = dict(size=(64, 96, 64))
visualization = dict(tensorboard=False)
