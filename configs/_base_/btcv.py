"""BTCV, "Beyond the Cranial Vault": 30 abdominal CT with 13 organs; data/README.md says how to get it.

The published UNETR code's protocol: 2 mm slices of 1.5 mm voxels, HU -175 to 250 as 0 to 1, crops of 96 voxels an axis,
half of them around an organ; tested by windows that overlap by half.
"""

train_data = dict(
    dataset=dict(
        type="monai_datalist",
        root="data/btcv",
        datalist="dataset_0.json",
        split="train",
        spacing=(2.0, 1.5, 1.5),
        normalization=dict(type="window", low=-175.0, high=250.0),
        cache=True,
        classes=(
            "background",
            "spleen",
            "right kidney",
            "left kidney",
            "gallbladder",
            "oesophagus",
            "liver",
            "stomach",
            "aorta",
            "inferior vena cava",
            "portal and splenic veins",
            "pancreas",
            "right adrenal gland",
            "left adrenal gland",
        ),
    ),
    augment=dict(
        crop_size=(96, 96, 96),
        scale_prob=0.0,
        rotate_prob=0.0,
        foreground=0.5,
        flips=(0.2, 0.2, 0.2),
        intensity=0.0,
        extra=(
            dict(type="RandScaleIntensity", prob=0.1, factors=0.1),
            dict(type="RandShiftIntensity", prob=0.1, offsets=0.1),
        ),
    ),
    batch_size=4,
    num_workers=8,
)
val_data = dict(dataset=dict(train_data["dataset"], split="val"), num_workers=2)
inference = dict(mode="slide", roi_size=(96, 96, 96), stride=(48, 48, 48), batch_size=4)
