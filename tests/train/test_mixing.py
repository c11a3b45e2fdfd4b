"""Mixup and CutMix: shares of classes are shares of the image, in every rank."""

from importlib import import_module

import pytest
import torch

from densevit.train.mixing import MixingOptions, draw_box, mix, shares_of_classes
from tools.peers import import_peer

SIZES = [(9, 14), (6, 7, 8)]


def batch(size):
    """Four images that hold their own number, of four classes."""
    image = torch.arange(4.0).view(4, 1, *[1] * len(size)).expand(4, 2, *size).clone()
    return image, shares_of_classes(torch.arange(4), 4)


@pytest.mark.parametrize("size", SIZES)
def test_cutmix_shares_are_the_counted_ones(size):
    torch.manual_seed(0)
    shares = []
    for _ in range(20):
        image, target = batch(size)
        mixed, mixed_target = mix(image, target, MixingOptions(cutmix=1.0))
        for i in range(4):
            kept = (mixed[i, 0] == i).float().mean()
            assert set(mixed[i].unique().tolist()) <= {float(i), float(3 - i)}
            torch.testing.assert_close(mixed_target[i, i], kept)
            torch.testing.assert_close(mixed_target[i, 3 - i], 1 - kept)
        shares.append(float(kept))
    assert max(shares) - min(shares) > 0.2


@pytest.mark.parametrize("size", SIZES)
def test_mixup_weighs_images_as_it_weighs_classes(size):
    torch.manual_seed(0)
    image, target = batch(size)
    mixed, mixed_target = mix(image, target, MixingOptions(mixup=0.8))
    share = mixed_target[0, 0]
    assert 0 < share < 1
    torch.testing.assert_close(mixed, share * image + (1 - share) * image.flip(0))
    torch.testing.assert_close(mixed_target.sum(1), torch.ones(4))


def test_some_batches_are_left_alone_and_some_are_mixed_by_either():
    torch.manual_seed(0)
    kinds = {"none": 0, "mixup": 0, "cutmix": 0}
    for _ in range(200):
        image, target = batch((8, 8))
        mixed, _ = mix(image, target, MixingOptions(mixup=1.0, cutmix=1.0, prob=0.5, switch_prob=0.25))
        whole = set(mixed.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}
        kinds["none" if torch.equal(mixed, image) else "cutmix" if whole else "mixup"] += 1
    assert 70 < kinds["none"] < 130
    assert 45 < kinds["mixup"] < 105
    assert 5 < kinds["cutmix"] < 45


@pytest.mark.parametrize("size", SIZES)
def test_a_box_has_its_share_where_nothing_of_it_is_lost(size):
    torch.manual_seed(0)
    found = [draw_box([100 * n for n in size], 0.01) for _ in range(50)]
    volumes = [torch.tensor([part.stop - part.start for part in box]).double().prod() for box in found]
    whole = torch.tensor([100.0 * n for n in size]).double().prod()
    assert float(torch.stack(volumes).max() / whole) == pytest.approx(0.01, rel=0.01)  # whole ones are the largest


def test_smoothing_is_spread_over_all_classes():
    shares = shares_of_classes(torch.tensor([2]), 4, smoothing=0.2)
    torch.testing.assert_close(shares, torch.tensor([[0.05, 0.05, 0.85, 0.05]]))


def test_targets_are_those_of_timm(timm_mixup):
    label = torch.tensor([0, 1, 2, 3])
    _, theirs = timm_mixup(torch.zeros(4, 3, 8, 8), label)
    torch.manual_seed(0)
    target = shares_of_classes(label, 4, smoothing=0.1)
    share = 0.3
    torch.testing.assert_close(target.lerp(target.flip(0), 1 - share), theirs(share))


@pytest.fixture
def timm_mixup():
    """timm's targets of a share."""
    import_peer("timm")
    mixup = import_module("timm.data.mixup")

    def make(image, label):
        return image, lambda share: mixup.mixup_target(label, 4, share, 0.1)

    return make
