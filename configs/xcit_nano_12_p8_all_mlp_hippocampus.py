"""XCiT-N12/8 in 3D on the Decathlon's Hippocampus, patches of 8 voxels: the budget of mit_b0_all_mlp_hippocampus.py.

Command: `python tools/train.py configs/xcit_nano_12_p8_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="xcit_nano_12_p8")
optimizer = dict(no_decay=("norm", "gamma", "temperature"))
