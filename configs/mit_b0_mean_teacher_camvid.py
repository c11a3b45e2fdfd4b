"""SegFormer-B0 on a tenth of CamVid's labels and all of its pictures: the budget of camvid_short.py.

`tenth.txt` in the folder of the data set has every tenth name of images/train, one a line:
`ls images/train | awk 'NR % 10 == 1' > tenth.txt`.
Command: `python tools/train.py configs/mit_b0_mean_teacher_camvid.py`; what labels alone give: the same with
`--cfg-options mean_teacher.weight=0`.
Time: not measured by itself.
Score: none published for this recipe; docs/pretraining.md holds a comparison.
"""

_base_ = "camvid_short.py"

task = "mean_teacher"
train_cfg = dict(ema=0.99)
train_data = dict(dataset=dict(split_file="tenth.txt"))
unlabelled_data = dict(dataset=dict(type="folder", root="data/camvid", split="train", labels=None), ratio=1)
mean_teacher = dict(threshold=0.9, weight=1.0, ramp_iters=200)
