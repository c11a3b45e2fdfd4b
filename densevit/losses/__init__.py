"""Losses for logits (B, K, *S) and labels (B, *S) of any rank; pixels labelled `ignore_index` take no part in any."""

from densevit.losses.build import LOSSES, SegmentationLoss, check_loss, create_loss
from densevit.losses.checks import num_valid
from densevit.losses.pixel import cross_entropy, focal_loss, ohem_cross_entropy
from densevit.losses.region import dice_loss, lovasz_softmax

__all__ = [
    "LOSSES",
    "SegmentationLoss",
    "check_loss",
    "create_loss",
    "cross_entropy",
    "dice_loss",
    "focal_loss",
    "lovasz_softmax",
    "num_valid",
    "ohem_cross_entropy",
]
