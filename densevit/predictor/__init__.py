"""Files in, label maps out: one checkpoint, one picture or thousands."""

from densevit.predictor.files import PredictionReport, predict
from densevit.predictor.predictor import Prediction, Predictor
