"""VOLO-D1 in 3D on the Decathlon's Hippocampus: the budget of mit_b0_all_mlp_hippocampus.py.

Command: `python tools/train.py configs/volo_d1_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="volo_d1", backbone_options=dict(image_size=(64, 96, 64)))
optimizer = dict(no_decay=("norm", "pos_embed"))
