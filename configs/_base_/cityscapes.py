"""Cityscapes: 2975 / 500 images of 1024 x 2048, 19 classes; data/README.md says how to get it.

The published SegFormer protocol: scale 0.5-2, crop 1024 x 1024, windows of 1024 every 768 pixels.
"""

train_data = dict(
    dataset=dict(type="cityscapes", root="data/cityscapes", split="train"),
    augment=dict(
        scale=(0.5, 2.0),
        base_size=(1024, 2048),
        crop_size=(1024, 1024),
        cat_max_ratio=0.75,
        flip=0.5,
        photometric=True,
    ),
    batch_size=1,
    num_workers=4,
)
val_data = dict(dataset=dict(type="cityscapes", root="data/cityscapes", split="val"), num_workers=2)
test_data = dict(dataset=dict(type="cityscapes", root="data/cityscapes", split="val"), num_workers=2)
inference = dict(mode="slide", roi_size=(1024, 1024), stride=(768, 768))
