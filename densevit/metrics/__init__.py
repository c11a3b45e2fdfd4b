"""Metrics of segmentation in any rank: exact counts, borders, lesions, calibration, and means that hide nothing."""

from densevit.metrics.borders import border_cells, border_voxels
from densevit.metrics.calibration import Calibration, CalibrationScores
from densevit.metrics.centreline import centreline_dice
from densevit.metrics.confusion import ConfusionMatrix
from densevit.metrics.distances import Distances, border_distances, boundary_iou, surfel_distances
from densevit.metrics.instances import InstanceIoU
from densevit.metrics.lesions import Lesion, LesionOptions, LesionScores, f1_by_size, score_lesions
from densevit.metrics.means import CaseTable, case_table, case_values
from densevit.metrics.measure import measure, measure_masks
from densevit.metrics.options import MeasureOptions
from densevit.metrics.policies import POLICIES, Fill, Policy
from densevit.metrics.records import Counts, Record
from densevit.metrics.scores import SegmentationScores, scores_from_counts, scores_from_records
from densevit.metrics.summary import Detection, Row, Summary, accuracy, detection, summarize
from densevit.metrics.temporal import TemporalConsistency, TemporalScores

__all__ = [
    "POLICIES",
    "Calibration",
    "CalibrationScores",
    "CaseTable",
    "ConfusionMatrix",
    "Counts",
    "Detection",
    "Distances",
    "Fill",
    "InstanceIoU",
    "Lesion",
    "LesionOptions",
    "LesionScores",
    "MeasureOptions",
    "Policy",
    "Record",
    "Row",
    "SegmentationScores",
    "Summary",
    "TemporalConsistency",
    "TemporalScores",
    "accuracy",
    "border_cells",
    "border_distances",
    "border_voxels",
    "boundary_iou",
    "case_table",
    "case_values",
    "centreline_dice",
    "detection",
    "f1_by_size",
    "measure",
    "measure_masks",
    "score_lesions",
    "scores_from_counts",
    "scores_from_records",
    "summarize",
    "surfel_distances",
]
