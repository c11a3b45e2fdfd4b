"""Centreline Dice of two bool masks (*S): whether thin branching structures are connected as they should be."""

import numpy as np


def centreline_dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """clDice (https://arxiv.org/abs/2003.07311): the harmonic mean of the share of the predicted skeleton that lies in
    the truth and the share of the true skeleton that lies in the prediction; nan if both masks are empty.
    """
    try:
        from skimage.morphology import skeletonize
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("cldice draws skeletons with scikit-image; pip install densevit[metrics]") from error
    if not prediction.any() or not truth.any():
        return 0.0 if prediction.any() or truth.any() else float("nan")
    precision = float(truth[skeletonize(prediction) > 0].mean())
    recall = float(prediction[skeletonize(truth) > 0].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
