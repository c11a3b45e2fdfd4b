"""Metrics of semantic segmentation: exact integer counts, and the scores that follow from them."""

from densevit.metrics.cases import CaseDice
from densevit.metrics.confusion import ConfusionMatrix
from densevit.metrics.scores import SegmentationScores, scores_from_counts

__all__ = ["CaseDice", "ConfusionMatrix", "SegmentationScores", "scores_from_counts"]
