"""BiT R50x1 and the All-MLP decoder in 3D on the Decathlon's Hippocampus: the budget of mit_b0_all_mlp_hippocampus.py.

Command: `python tools/train.py configs/bit_r50x1_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="bit_r50x1")
optimizer = dict(no_decay=("norm",))
