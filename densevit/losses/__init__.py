"""Losses for logits (B, K, *S) and labels (B, *S) of any rank; pixels labelled `ignore_index` take no part in any."""

from densevit.losses.build import LOSSES, SegmentationLoss, check_loss, create_loss
from densevit.losses.functions import (
    cross_entropy,
    dice_loss,
    focal_loss,
    lovasz_softmax,
    num_valid,
    ohem_cross_entropy,
)

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
