import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from densevit import losses
from tests.losses.common import SIZES, make_batch, value_and_gradient
from tools.peers import import_mmseg, import_peer


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_cross_entropy_is_that_of_torch(size, weighted, smoothing):
    logits, label = make_batch(size)
    weights = torch.tensor([1.0, 0.5, 2.0, 0.0, 3.0]) if weighted else None
    ours = losses.cross_entropy(logits, label, class_weights=weights, label_smoothing=smoothing)
    torchs = F.cross_entropy(logits, label, weight=weights, ignore_index=255, label_smoothing=smoothing)
    assert_close(value_and_gradient(ours, logits), value_and_gradient(torchs, logits))


@pytest.mark.parity
def test_cross_entropy_is_that_of_mmseg_when_it_too_averages_over_valid_pixels():
    import_mmseg()
    from mmseg.models.losses import CrossEntropyLoss

    logits, label = make_batch((7, 9))
    theirs = CrossEntropyLoss(avg_non_ignore=True)(logits, label, ignore_index=255)
    assert_close(losses.cross_entropy(logits, label), theirs)


def test_class_weights_of_another_length_are_explained():
    logits, label = make_batch((6, 5))
    with pytest.raises(ValueError, match="expected 5 class_weights, one per class"):
        losses.cross_entropy(logits, label, class_weights=torch.ones(4))


# Hard examples


@pytest.mark.parametrize(("thresh", "min_kept"), [(0.7, 1), (0.3, 1), (0.01, 20), (0.5, 20), (0.2, 1000)])
def test_ohem_is_the_mean_over_pixels_below_the_threshold_or_among_the_least_probable(thresh, min_kept):
    logits, label = make_batch((7, 9))
    pixels = [(b, *at) for b, *at in (label != 255).nonzero().tolist()]
    p = {at: float(logits[at[0], :, at[1], at[2]].softmax(0)[label[at]].detach()) for at in pixels}
    rank = sorted(p.values())
    limit = max(rank[min(min_kept * 2, len(rank) - 1)], thresh)
    kept = [-math.log(value) for value in p.values() if value < limit]
    ours = losses.ohem_cross_entropy(logits, label, thresh=thresh, min_kept=min_kept)
    assert_close(ours.item(), sum(kept) / len(kept), rtol=1e-5, atol=0)


@pytest.mark.parity
@pytest.mark.parametrize(("thresh", "min_kept"), [(0.7, 2), (0.3, 5), (0.01, 20), (0.2, 1000)])
def test_ohem_keeps_the_pixels_that_mmseg_keeps(thresh, min_kept):
    import_mmseg()
    from mmseg.structures import OHEMPixelSampler

    logits, label = make_batch((7, 9), ignored=0.3)
    sampler = OHEMPixelSampler(SimpleNamespace(ignore_index=255), thresh=thresh, min_kept=min_kept)
    kept = sampler.sample(logits, label[:, None]).bool()
    _, gradient = value_and_gradient(losses.ohem_cross_entropy(logits, label, thresh=thresh, min_kept=min_kept), logits)
    assert torch.equal(gradient.abs().sum(1) > 0, kept)
    weighted = F.cross_entropy(logits, label.where(kept, 255), ignore_index=255)
    assert_close(losses.ohem_cross_entropy(logits, label, thresh=thresh, min_kept=min_kept), weighted)


def test_ohem_weighs_classes_as_cross_entropy_does_when_it_keeps_all_pixels():
    logits, label = make_batch((7, 9))
    weights = torch.tensor([1.0, 0.5, 2.0, 0.1, 3.0])
    ohem = losses.ohem_cross_entropy(logits, label, thresh=1.1, class_weights=weights)
    assert_close(ohem, losses.cross_entropy(logits, label, class_weights=weights))


# Focal


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss_is_its_formula(gamma):
    logits, label = make_batch((7, 9))
    valid = label != 255
    p = logits.softmax(1).movedim(1, -1)[valid].gather(1, label[valid][:, None])
    expected = (-((1 - p) ** gamma) * p.log()).mean()
    ours = losses.focal_loss(logits, label, gamma=gamma)
    assert_close(value_and_gradient(ours, logits), value_and_gradient(expected, logits))


def test_focal_loss_at_gamma_zero_is_cross_entropy():
    logits, label = make_batch((7, 9))
    weights = torch.tensor([1.0, 0.5, 2.0, 0.1, 3.0])
    focal = losses.focal_loss(logits, label, gamma=0.0, class_weights=weights)
    assert_close(focal, losses.cross_entropy(logits, label, class_weights=weights))


@pytest.mark.parity
@pytest.mark.parametrize("size", [(7, 9), (3, 4, 5)], ids=str)
def test_focal_loss_is_that_of_monai(size):
    theirs = import_peer("monai.losses").FocalLoss(to_onehot_y=True, use_softmax=True, gamma=2.0, reduction="sum")
    logits, label = make_batch(size, ignored=0)
    assert_close(losses.focal_loss(logits, label), theirs(logits, label[:, None]) / len(label))
