"""ConvMixer-768/32 in 3D on the Decathlon's Hippocampus, narrow and shallow, as mit_b0_all_mlp_hippocampus.py.

Command: `python tools/train.py configs/convmixer_768_32_all_mlp_hippocampus.py`.
Time: not measured by itself.
Score: none published for this recipe.
"""

_base_ = "mit_b0_all_mlp_hippocampus.py"

model = dict(backbone="convmixer_768_32", backbone_options=dict(dim=256, depth=8))
