"""Drawn CT scans in a Decathlon folder, from densevit.synthetic.ct; tools/quickstart.py --task ct makes them.

Spacing, field of view and orientation differ from scan to scan; at 5 mm they have about 65 x 70 x 75 voxels, and a crop
spans most of a body's width. Left and right kidneys are told apart, so crops are never mirrored.
"""

train_data = dict(
    dataset=dict(
        type="msd",
        root="data/synthetic_ct",
        split="train",
        spacing=(5.0, 5.0, 5.0),
        normalization=dict(type="window", low=-250.0, high=350.0),
        cache=True,
    ),
    augment=dict(crop_size=(32, 48, 64), foreground=0.6, intensity=0.1, noise=0.02),
    batch_size=1,
    num_workers=1,
)
val_data = dict(dataset=dict(train_data["dataset"], split="val"), num_workers=1)
inference = dict(mode="slide_gaussian", roi_size=(32, 48, 64), stride=(20, 36, 48), batch_size=2)
