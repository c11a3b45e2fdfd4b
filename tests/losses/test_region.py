from itertools import pairwise, product

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from densevit import losses
from densevit.losses import LOSSES
from tests.losses.common import CLASSES, SIZES, make_batch, value_and_gradient
from tools.peers import import_mmseg, import_peer


@pytest.mark.parity
@pytest.mark.parametrize("include_background", [True, False])
@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("size", [(7, 9), (3, 4, 5)], ids=str)
def test_dice_loss_is_that_of_monai(size, per_image, include_background):
    theirs = import_peer("monai.losses").DiceLoss(
        to_onehot_y=True, softmax=True, batch=not per_image, include_background=include_background
    )
    logits, label = make_batch(size, ignored=0)
    ours = losses.dice_loss(logits, label, per_image=per_image, include_background=include_background)
    assert_close(ours, theirs(logits, label[:, None]))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_dice_loss_is_its_formula_over_valid_pixels(size):
    logits, label = make_batch(size)
    scores = []
    for x, y in zip(logits.detach(), label, strict=True):
        p, y = x.softmax(0)[:, y != 255].double(), y[y != 255]
        for k in range(CLASSES):
            overlap, total = p[k, y == k].sum(), p[k].sum() + (y == k).sum()
            scores.append((2 * overlap + 1e-5) / (total + 1e-5))
    assert_close(losses.dice_loss(logits, label).double(), 1 - torch.stack(scores).mean(), rtol=1e-5, atol=1e-6)


def test_a_perfect_prediction_has_no_region_loss():
    label = torch.tensor([[[0, 1, 2], [3, 4, 255]]])
    logits = F.one_hot(label.where(label != 255, 0), CLASSES).movedim(-1, 1) * 1000.0
    for name in ("dice", "lovasz_softmax"):
        assert_close(LOSSES[name](logits, label), torch.tensor(0.0))


# Lovász-Softmax, against sets


def jaccard_loss(wrong, truth):
    """Delta(M) of the paper: 1 - IoU of a class when the pixels `wrong` are mispredicted."""
    return len(wrong) / len(wrong | truth) if wrong | truth else 0.0


def lovasz_extension(errors, truth):
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    sets = [set(order[:i]) for i in range(len(order) + 1)]
    steps = [jaccard_loss(after, truth) - jaccard_loss(before, truth) for before, after in pairwise(sets)]
    return sum(errors[i] * step for i, step in zip(order, steps, strict=True))


def lovasz_by_sets(probability, label, *, only_present):
    """probability (K, N), label (N,) without ignored pixels."""
    values = []
    for k, p in enumerate(probability.tolist()):
        truth = {i for i, y in enumerate(label.tolist()) if y == k}
        if truth or not only_present:
            values.append(lovasz_extension([1 - v if i in truth else v for i, v in enumerate(p)], truth))
    return sum(values) / len(values)


@pytest.mark.parametrize("only_present", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_lovasz_softmax_is_the_extension_defined_on_sets(size, only_present):
    logits, label = make_batch(size, classes=7)
    label = label.where(label != 3, 255)  # one class is absent
    valid = label != 255
    probability = logits.detach().double().softmax(1).movedim(1, -1)[valid].T
    expected = lovasz_by_sets(probability, label[valid], only_present=only_present)
    ours = losses.lovasz_softmax(logits, label, only_present=only_present)
    assert_close(ours.item(), expected, rtol=1e-5, atol=1e-6)


def test_lovasz_softmax_per_image_is_the_mean_over_images():
    logits, label = make_batch((7, 9))
    each = [losses.lovasz_softmax(logits[i : i + 1], label[i : i + 1]) for i in range(2)]
    assert_close(losses.lovasz_softmax(logits, label, per_image=True), torch.stack(each).mean())


def test_lovasz_softmax_of_certain_predictions_is_one_minus_the_iou_of_each_class():
    for prediction in product(range(3), repeat=4):
        label = torch.tensor([[0, 0, 1, 2]])
        prediction = torch.tensor([prediction])
        logits = F.one_hot(prediction, 3).movedim(-1, 1) * 1000.0
        iou = [((prediction == k) & (label == k)).sum() / ((prediction == k) | (label == k)).sum() for k in range(3)]
        assert_close(losses.lovasz_softmax(logits, label), 1 - torch.stack(iou).mean())


@pytest.mark.parity
@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("only_present", [True, False])
def test_lovasz_softmax_is_that_of_mmseg(per_image, only_present):
    import_mmseg()
    from mmseg.models.losses import LovaszLoss

    logits, label = make_batch((7, 9))
    theirs = LovaszLoss(
        classes="present" if only_present else "all", per_image=per_image, reduction="mean" if per_image else "none"
    )
    ours = losses.lovasz_softmax(logits, label, per_image=per_image, only_present=only_present)
    expected = theirs(logits, label, ignore_index=255)
    assert_close(value_and_gradient(ours, logits), value_and_gradient(expected, logits))
