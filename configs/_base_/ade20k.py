"""ADE20K (SceneParse150): 20210 / 2000 images of many sizes, 150 classes; data/README.md says how to get it.

The published SegFormer protocol: images fitted into 512 x 2048, scale 0.5-2, crop 512 x 512, tested whole.
"""

train_data = dict(
    dataset=dict(type="ade20k", root="data/ade/ADEChallengeData2016", split="training"),
    augment=dict(
        scale=(0.5, 2.0),
        base_size=(512, 2048),
        crop_size=(512, 512),
        cat_max_ratio=0.75,
        flip=0.5,
        photometric=True,
    ),
    batch_size=2,
    num_workers=4,
)
val_data = dict(dataset=dict(type="ade20k", root="data/ade/ADEChallengeData2016", split="validation"), num_workers=2)
test_data = dict(dataset=dict(type="ade20k", root="data/ade/ADEChallengeData2016", split="validation"), num_workers=2)
inference = dict(mode="whole", base_size=(512, 2048))
