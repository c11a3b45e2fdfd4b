import pytest
import torch
from torch.testing import assert_close

from densevit import losses
from densevit.decoders import DenseMap
from densevit.losses import create_loss
from tests.losses.common import make_batch


def test_a_config_becomes_named_weighted_terms():
    logits, label = make_batch((6, 5))
    loss = create_loss([dict(type="cross_entropy", label_smoothing=0.1), dict(type="dice", weight=0.5)])
    terms = loss(DenseMap(logits), label)
    assert list(terms) == ["loss_cross_entropy", "loss_dice"]
    assert_close(terms["loss_cross_entropy"], losses.cross_entropy(logits, label, label_smoothing=0.1))
    assert_close(terms["loss_dice"], 0.5 * losses.dice_loss(logits, label))


def test_one_term_may_stand_without_a_list_and_ignore_index_reaches_it():
    logits, label = make_batch((6, 5), ignored=0)
    terms = create_loss(dict(type="focal"), ignore_index=2)(DenseMap(logits), label)
    assert_close(terms["loss_focal"], losses.focal_loss(logits, label, ignore_index=2))


def test_class_weights_in_a_config_follow_the_device_and_stay_out_of_the_state():
    loss = create_loss(dict(type="cross_entropy", class_weights=[1.0, 0.5, 2.0, 0.1, 3.0]))
    logits, label = make_batch((6, 5))
    expected = losses.cross_entropy(logits, label, class_weights=torch.tensor([1.0, 0.5, 2.0, 0.1, 3.0]))
    assert_close(loss(DenseMap(logits), label)["loss_cross_entropy"], expected)
    assert loss.state_dict() == {}
    assert [b.device.type for b in loss.to("meta").buffers()] == ["meta"]


def test_coarse_logits_are_resized_to_the_label():
    logits, label = make_batch((6, 8))
    coarse = torch.nn.functional.avg_pool2d(logits, 2)
    resized = torch.nn.functional.interpolate(coarse, (6, 8), mode="bilinear")
    terms = create_loss(dict(type="cross_entropy"))(DenseMap(coarse), label)
    assert_close(terms["loss_cross_entropy"], losses.cross_entropy(resized, label))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(type="cross_entropi"), "no loss of type 'cross_entropi'; did you mean cross_entropy"),
        (dict(weight=1.0), "no loss of type None; known: cross_entropy, dice"),
        (dict(type="focal", gama=2), "loss 'focal' has no option 'gama'; did you mean gamma"),
        (dict(type="dice", class_weights=[1, 2]), "loss 'dice' has no option 'class_weights'"),
        (dict(type="cross_entropy", class_weights=0.5), "class_weights must be a list of numbers, got 0.5"),
        ([], "the loss has no terms"),
        ([dict(type="dice"), dict(type="dice")], "two terms of type 'dice'"),
    ],
    ids=str,
)
def test_a_wrong_loss_config_is_explained(config, message):
    with pytest.raises(ValueError, match=message):
        create_loss(config)
