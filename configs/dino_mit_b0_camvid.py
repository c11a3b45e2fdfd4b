"""DINO with MiT-B0 on the 367 training pictures of CamVid, whose labels are not read: a few minutes of a CPU.

Far from a recipe for good features: it shows that the loss falls, that nothing collapses, and how frozen features are
scored on the way, by neighbours among patches (docs/pretraining.md).
Command: `densevit train configs/dino_mit_b0_camvid.py`; what starts from it says
`model.backbone_options.weights=work_dirs/dino_mit_b0_camvid`.
Time: 8 minutes on a CPU of two busy cores, and 2 for the validation.
Score: none published for this recipe.
"""

task = "dino"
model = dict(backbone="mit_b0")
head = dict(out_dim=1024, hidden_dim=512, bottleneck_dim=128)
teacher = dict(momentum=0.99, temperature=0.02, first_temperature=0.02)
freeze_last_layer_iters = 20
optimizer = dict(type="AdamW", lr=5e-4, weight_decay=0.04, no_decay=("norm", "bias"))
schedule = dict(type="cosine", min_lr=1e-6, warmup_iters=40, warmup_ratio=1e-3, end_weight_decay=0.4)
train_cfg = dict(
    max_iters=160,
    val_interval=160,
    checkpoint_interval=80,
    log_interval=10,
    clip_grad=3.0,
    clip_each=True,
    best="mIoU",
)
train_data = dict(
    dataset=dict(type="folder", root="data/camvid", split="train"),
    augment=dict(
        global_size=(96, 96),
        local_size=(64, 64),
        num_locals=4,
        global_area=(0.25, 1.0),
        local_area=(0.05, 0.25),
    ),
    batch_size=16,
    num_workers=0,
)
val_data = dict(dataset=dict(type="folder", root="data/camvid", split="val"), num_workers=0)
view = dict(size=(180, 240))
visualization = dict(tensorboard=False)
