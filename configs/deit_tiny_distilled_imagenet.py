"""DeiT-Ti with the distillation token on ImageNet: the recipe of deit_tiny_imagenet.py, and a teacher.

The authors' is RegNetY-16GF; `torch.export.export` of it makes the file that is named below (docs/pretraining.md).
Paper: https://arxiv.org/abs/2012.12877
Command: `torchrun --nproc_per_node 8 tools/train.py configs/deit_tiny_distilled_imagenet.py --launcher pytorch`.
Time: not measured here.
Score: 74.5 top1 in its repository. RandAugment draws its strengths in another way here (docs/classify.md).
"""

_base_ = "deit_tiny_imagenet.py"

model = dict(backbone="deit_tiny_distilled")
optimizer = dict(no_decay=("norm", "bias", "pos_embed", "cls_token", "dist_token"))
distillation = dict(teachers=["weights/regnety_160.pt2"], type="hard", alpha=0.5)
