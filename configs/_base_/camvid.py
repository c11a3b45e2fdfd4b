"""CamVid in the 11-class SegNet form: 367 / 101 / 233 images of 360 x 480; data/README.md says how to get it.

The folder holds images/{train,val,test}, labels/{train,val,test} and classes.json, whose
ignore_index says how "unlabelled" is written: 255, or 11 as in the original.
"""

train_data = dict(
    dataset=dict(type="folder", root="data/camvid", split="train"),
    augment=dict(scale=(0.5, 2.0), crop_size=(352, 352), cat_max_ratio=0.75, flip=0.5, photometric=True),
    batch_size=8,
    num_workers=4,
)
val_data = dict(dataset=dict(type="folder", root="data/camvid", split="val"), num_workers=2)
test_data = dict(dataset=dict(type="folder", root="data/camvid", split="test"), num_workers=2)
inference = dict(mode="whole")
