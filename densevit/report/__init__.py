"""Pictures of what a run did: curves and sheets of predictions."""

from densevit.report.plots import compare_curves, plot_curves
from densevit.report.sheet import prediction_sheet

__all__ = ["compare_curves", "plot_curves", "prediction_sheet"]
