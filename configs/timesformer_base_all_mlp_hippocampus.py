"""TimeSformer on the Decathlon's Hippocampus, slices as frames: the budget of mit_b0_all_mlp_hippocampus.py.

It is as wide as DeiT-Ti, whose weights give every slice what they give a picture before training begins: add
`--cfg-options model.backbone_options.weights.path=FILE model.backbone_options.weights.inflate=center
model.backbone_options.weights.adapt_channels=sum`.
Command: `python tools/train.py configs/timesformer_base_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(
    backbone="timesformer_base", backbone_options=dict(dim=192, num_heads=3, image_size=(96, 64), num_frames=64)
)
optimizer = dict(no_decay=("norm", "pos_embed", "time_embed", "cls_token"))
