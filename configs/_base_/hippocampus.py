"""Hippocampus of the Medical Segmentation Decathlon: MR of 1 mm, about 35 x 50 x 36 voxels, background and two parts.

data/README.md says how to get it, and how to split it: the cases for validation are those that dataset.json lists.
"""

train_data = dict(
    dataset=dict(type="msd", root="data/Task04_Hippocampus", split="train"),
    augment=dict(
        crop_size=(32, 48, 32),
        scale=(0.85, 1.15),
        rotate=15.0,
        foreground=0.5,
        flips=(0.0, 0.0, 0.5),
        intensity=0.2,
        noise=0.1,
    ),
    batch_size=4,
    num_workers=0,
)
val_data = dict(dataset=dict(type="msd", root="data/Task04_Hippocampus", split="val"), num_workers=0)
inference = dict(mode="whole")
