import pytest
import torch
from torch.testing import assert_close

from densevit.losses import LOSSES, num_valid
from tests.losses.common import SIZES, make_batch, value_and_gradient


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_a_finite_scalar_with_a_gradient_at_any_rank(name, size):
    logits, label = make_batch(size)
    loss, gradient = value_and_gradient(LOSSES[name](logits, label), logits)
    assert loss.shape == ()
    assert loss > 0
    assert gradient.isfinite().all()
    assert gradient.any()


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_a_zero_with_a_zero_gradient_when_all_pixels_are_ignored(name):
    logits, label = make_batch((6, 5), ignored=2)
    loss, gradient = value_and_gradient(LOSSES[name](logits, label), logits)
    assert loss == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("ignore_index", [255, -1, 0])
@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_depends_on_the_logits_of_ignored_pixels(name, ignore_index):
    logits, label = make_batch((6, 5), ignored=0)
    label = label.clamp_min(1)
    ignored = torch.rand(label.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    label[ignored] = ignore_index
    changed = logits.detach().clone().movedim(1, -1)
    changed[ignored] = torch.tensor([30.0, -30.0, 5.0, 0.0, -torch.inf])
    loss, gradient = value_and_gradient(LOSSES[name](logits, label, ignore_index=ignore_index), logits)
    other = LOSSES[name](changed.movedim(-1, 1), label, ignore_index=ignore_index)
    assert_close(other, loss)
    assert (gradient.movedim(1, -1)[ignored] == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_ignoring_pixels_is_the_same_as_leaving_them_out(name):
    logits, label = make_batch((40,), images=1, ignored=0.4)
    valid = label[0] != 255
    assert_close(LOSSES[name](logits, label), LOSSES[name](logits[..., valid], label[:, valid]))


@pytest.mark.parametrize("name", LOSSES)
def test_an_ignored_image_does_not_dilute_the_batch(name):
    logits, label = make_batch((6, 5))
    label[1] = 255
    assert_close(LOSSES[name](logits, label), LOSSES[name](logits[:1], label[:1]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_logits_are_computed_in_float32_even_under_autocast(name, dtype):
    logits, label = make_batch((6, 5))
    half = logits.detach().to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = LOSSES[name](half, label)
    assert loss.dtype == torch.float32
    assert_close(loss, LOSSES[name](half.float(), label), rtol=0, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name):
    logits, label = make_batch((4, 3), classes=3, dtype=torch.float64)
    # Hard-example mining would switch pixels on and off within a finite difference: here it keeps all but the easiest.
    options = dict(thresh=0.0, min_kept=1000) if name == "ohem_cross_entropy" else {}
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, label, **options), logits, atol=2e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_give_finite_losses_and_gradients(name):
    logits, label = make_batch((6, 5))
    extreme = (logits.detach() * 1e4).requires_grad_()
    loss, gradient = value_and_gradient(LOSSES[name](extreme, label), extreme)
    assert loss.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_wrong_shapes_types_and_a_single_channel_are_explained(name):
    logits, label = make_batch((6, 5))
    with pytest.raises(ValueError, match=r"got \(2, 5, 6, 5\) and \(2, 3, 5\); resize"):
        LOSSES[name](logits, label[:, :3])
    with pytest.raises(ValueError, match=r"at least 2 channels.*num_classes=2"):
        LOSSES[name](logits[:, :1], label)
    with pytest.raises(ValueError, match=r"integer class indices, got torch\.float32"):
        LOSSES[name](logits, label.float())


def test_num_valid_counts_the_pixels_that_are_not_ignored():
    label = torch.tensor([[0, 255, 3], [255, 255, 1]])
    assert num_valid(label) == 3
    assert num_valid(label, ignore_index=3) == 5
