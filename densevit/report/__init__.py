"""Pictures of what a run did: curves, sheets of predictions, coloured label maps."""

from densevit.report.colors import colorize, overlay
from densevit.report.plots import compare_curves, plot_curves
from densevit.report.sheet import prediction_sheet

__all__ = ["colorize", "compare_curves", "overlay", "plot_curves", "prediction_sheet"]
