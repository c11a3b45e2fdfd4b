"""SegFormer-B0 on CamVid that learns from a larger run as well: the budget of camvid_short.py.

Train the teacher first, as `python tools/train.py configs/camvid_short.py --work-dir work_dirs/camvid_teacher
--cfg-options model.backbone=pvt_v2_b2 train_cfg.max_iters=2000`.
Command: `python tools/train.py configs/mit_b0_distilled_camvid.py`.
Time: not measured by itself.
Score: none published for this recipe; docs/pretraining.md holds a comparison.
"""

_base_ = "camvid_short.py"

distillation = dict(teachers=["work_dirs/camvid_teacher"], terms=[dict(type="logits", weight=1.0, temperature=2.0)])
