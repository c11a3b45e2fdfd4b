"""TimeSformer and the All-MLP decoder on clips of 8 frames of 480p: one object and the rest, laid out as DAVIS 2016.

Frames lie in data/clips/JPEGImages/480p/NAME/*.jpg, masks of 0 and 255 in data/clips/Annotations/480p/NAME/*.png, and
data/clips/ImageSets/{train,val}.txt name the videos (docs/video.md).
Command: `python tools/train.py configs/timesformer_base_clips.py`; with weights of a ViT-B/16 that has a class token,
add `--cfg-options model.backbone_options.weights.path=FILE model.backbone_options.weights.inflate=center`.
Time: not measured by itself.
Score: none published for this recipe.
"""

data = dict(
    type="clips",
    root="data/clips",
    images="JPEGImages/480p",
    labels="Annotations/480p",
    split_file="ImageSets/{split}.txt",
    classes=["background", "object"],
    label_map={"255": 1},
    ignore_index="none",
    num_frames=8,
)
model = dict(
    backbone="timesformer_base",
    decoder="all_mlp",
    num_classes=2,
    spatial_dims=3,
    backbone_options=dict(num_frames=8),
    decoder_options=dict(dim=256),
)
loss = [dict(type="cross_entropy")]
optimizer = dict(type="AdamW", lr=6e-5, weight_decay=0.05, no_decay=("norm", "pos_embed", "time_embed", "cls_token"))
schedule = dict(type="poly", power=1.0, warmup_iters=500, warmup_ratio=1e-6)
train_cfg = dict(max_iters=10_000, val_interval=1000, checkpoint_interval=1000, log_interval=50, amp="bf16")
train_data = dict(
    dataset=dict(data, split="train"),
    augment=dict(base_size=(480, 854), scale=(0.5, 2.0), crop_size=(224, 224), photometric=True),
    batch_size=8,
    num_workers=4,
)
val_data = dict(dataset=dict(data, split="val"))
inference = dict(mode="slide_gaussian", roi_size=(8, 480, 480), stride=(4, 480, 374))
del data
