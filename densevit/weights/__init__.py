"""Weights: ours as safetensors, every official release whose key map we hold, one loader with a report."""

from densevit.weights.describe import Description, describe
from densevit.weights.files import read_checkpoint, read_weights, save_weights
from densevit.weights.load import load_weights
from densevit.weights.maps import SOURCES
from densevit.weights.rename import Translation, guess_source, to_ours, to_theirs
from densevit.weights.report import LoadReport
from densevit.weights.stages import to_stages
