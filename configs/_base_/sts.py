"""Soft-tissue sarcoma on CT in a Decathlon folder: one tumour a case; data/README.md says how to get it.

HU are clipped to -160 to 240, and all cases are brought to slices of 3.27 mm with voxels of 1.95 mm.
"""

train_data = dict(
    dataset=dict(
        type="msd",
        root="data/sts_ct",
        split="train",
        spacing=(3.27, 1.95, 1.95),
        normalization=dict(type="window", low=-160.0, high=240.0),
        cache=True,
    ),
    augment=dict(
        crop_size=(48, 64, 64),
        preset="nnunet",
        foreground=0.7,
        flips=(0.5, 0.0, 0.5),
    ),
    batch_size=2,
    num_workers=2,
)
val_data = dict(dataset=dict(train_data["dataset"], split="val"), num_workers=1)
inference = dict(mode="slide_gaussian", roi_size=(48, 64, 64))
