"""Soft-tissue sarcoma on CT in a Decathlon folder: one tumour a case; data/README.md says how to get it.

Spacing and HU are what `densevit fingerprint data/sts_ct` proposes; a crop holds a whole case of usual size.
"""

train_data = dict(
    dataset=dict(
        type="msd",
        root="data/sts_ct",
        split="train",
        spacing=(3.27, 1.9531, 1.9531),
        normalization=dict(type="ct", low=-64.0, high=148.0, mean=33.04, std=41.05),
        cache=True,
    ),
    augment=dict(
        crop_size=(64, 96, 96),
        preset="nnunet",
        scale_prob=0.5,
        rotate_prob=0.5,
        foreground=0.5,
    ),
    batch_size=2,
    num_workers=2,
)
val_data = dict(dataset=dict(train_data["dataset"], split="val"), num_workers=1)
inference = dict(mode="slide_gaussian", roi_size=(64, 96, 96))
