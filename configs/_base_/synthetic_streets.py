"""Rendered street scenes in the Cityscapes layout, from densevit.synthetic.streets; tools/quickstart.py makes them."""

train_data = dict(
    dataset=dict(type="cityscapes", root="data/synthetic_streets", split="train"),
    augment=dict(scale=(0.75, 1.5), crop_size=(128, 128), cat_max_ratio=0.9, flip=0.5, photometric=True),
    batch_size=4,
    num_workers=0,
)
val_data = dict(dataset=dict(type="cityscapes", root="data/synthetic_streets", split="val"), num_workers=0)
test_data = dict(dataset=dict(type="cityscapes", root="data/synthetic_streets", split="val"), num_workers=0)
inference = dict(mode="slide", roi_size=(128, 128), stride=(128, 64), batch_size=4)
