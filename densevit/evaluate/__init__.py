"""Scores of models on data sets, and of label files against others, with how sure they are."""

from densevit.evaluate.model import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
