from dataclasses import replace

import pytest
import torch
from mmengine.optim.scheduler import CosineAnnealingLR, LinearLR, PolyLR
from torch import nn

from densevit import create_segmentor
from densevit.train.optim import OptimizerOptions, OptimizerStep, ScheduleOptions, create_optimizer, learning_rate

OPTIONS = OptimizerOptions(
    lr=6e-5,
    weight_decay=0.01,
    betas=(0.9, 0.999),
    no_decay=("norm",),
    lr_multipliers=dict(decoder=10.0, head=10.0),
)


def mmengines_rates(base, *, max_iters, warmup, after):
    """What mmsegmentation's schedule gives at each iteration."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=base)
    schedulers = [LinearLR(optimizer, start_factor=1e-6, by_epoch=False, begin=0, end=warmup), after(optimizer)]
    rates = []
    for _ in range(max_iters):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


@pytest.mark.parametrize(("warmup", "max_iters"), [(1500, 16_000), (5, 12)])
def test_the_poly_schedule_is_mmsegmentations(warmup, max_iters):
    theirs = mmengines_rates(
        6e-5,
        max_iters=max_iters,
        warmup=warmup,
        after=lambda o: PolyLR(o, eta_min=0.0, power=1.0, begin=warmup, end=max_iters, by_epoch=False),
    )
    schedule = ScheduleOptions(type="poly", power=1.0, min_lr=0.0, warmup_iters=warmup, warmup_ratio=1e-6)
    checked = {0, 1, warmup - 1, warmup, warmup + 1, max_iters // 2, max_iters - 2, max_iters - 1}
    ours = {t: learning_rate(6e-5, t, max_iters=max_iters, schedule=schedule) for t in checked}
    assert ours == pytest.approx({t: theirs[t] for t in checked}, rel=1e-9, abs=1e-15)
    assert ours[0] == 6e-5 * 1e-6
    assert ours[max_iters - 1] == 0.0


def test_power_and_floor_are_mmsegmentations_too():
    theirs = mmengines_rates(
        0.01,
        max_iters=40,
        warmup=4,
        after=lambda o: PolyLR(o, eta_min=1e-4, power=0.9, begin=4, end=40, by_epoch=False),
    )
    schedule = ScheduleOptions(type="poly", power=0.9, min_lr=1e-4, warmup_iters=4, warmup_ratio=1e-6)
    ours = [learning_rate(0.01, t, max_iters=40, schedule=schedule) for t in range(40)]
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_the_cosine_schedule_is_mmengines():
    theirs = mmengines_rates(
        0.01,
        max_iters=40,
        warmup=4,
        after=lambda o: CosineAnnealingLR(o, eta_min=1e-4, begin=4, end=40, T_max=35, by_epoch=False),
    )
    schedule = ScheduleOptions(type="cosine", power=1.0, min_lr=1e-4, warmup_iters=4, warmup_ratio=1e-6)
    ours = [learning_rate(0.01, t, max_iters=40, schedule=schedule) for t in range(40)]
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_norms_do_not_decay_and_the_decoder_learns_ten_times_faster():
    model = create_segmentor("mit_b0", "all_mlp", num_classes=19)
    optimizer = create_optimizer(model, OPTIONS)
    names = {id(p): name for name, p in model.named_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names.pop(id(parameter))
            assert group["weight_decay"] == (0.0 if "norm" in name else 0.01), name
            assert group["lr"] == pytest.approx(6e-4 if name.startswith(("decoder.", "head.")) else 6e-5), name
    assert not names
    assert len(optimizer.param_groups) == 4


def test_a_norm_is_found_by_its_type_whatever_its_name():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4))
    optimizer = create_optimizer(model, replace(OPTIONS, lr_multipliers={}))
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert [decays[id(p)] for p in model.parameters()] == [0.01, 0.01, 0.0, 0.0, 0.0, 0.0]


def test_frozen_parameters_are_left_out():
    model = create_segmentor("mit_b0", "all_mlp", num_classes=2, backbone_options=dict(frozen=4))
    count = sum(len(group["params"]) for group in create_optimizer(model, OPTIONS).param_groups)
    assert count == len([*model.decoder.parameters(), *model.head.parameters()])


def test_a_multiplier_for_a_part_that_is_not_there_is_one_sentence():
    model = create_segmentor("mit_b0", "all_mlp", num_classes=2)
    with pytest.raises(ValueError, match="no module named 'decodr'; did you mean decoder"):
        create_optimizer(model, replace(OPTIONS, lr_multipliers={"decodr": 10.0}))


def test_accumulated_batches_give_the_gradient_of_their_mean():
    torch.manual_seed(0)
    data, once, twice = torch.randn(4, 3), nn.Linear(3, 1), nn.Linear(3, 1)
    twice.load_state_dict(once.state_dict())
    whole = OptimizerStep(torch.optim.SGD(once.parameters(), lr=0.1), device=torch.device("cpu"))
    whole.backward(once(data).square().mean())
    whole.update()
    parts = OptimizerStep(torch.optim.SGD(twice.parameters(), lr=0.1), device=torch.device("cpu"), accumulate=2)
    for half in data.chunk(2):
        parts.backward(twice(half).square().mean())
    parts.update()
    torch.testing.assert_close(twice.weight, once.weight)


def test_clipping_bounds_the_norm_of_all_gradients():
    model = nn.Linear(3, 1)
    step = OptimizerStep(torch.optim.SGD(model.parameters(), lr=1.0), device=torch.device("cpu"), clip_grad=0.5)
    before = [p.detach().clone() for p in model.parameters()]
    step.backward(1000 * model(torch.ones(1, 3)).sum())
    step.update()
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, model.parameters(), strict=True)])
    assert moved.norm().item() == pytest.approx(0.5, rel=1e-3)
    assert step.grad_norm.item() > 1000


@pytest.mark.parametrize(("amp", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_amp_computes_in_half_precision_on_the_cpu(amp, dtype):
    model = nn.Linear(3, 1)
    step = OptimizerStep(torch.optim.SGD(model.parameters(), lr=0.1), device=torch.device("cpu"), amp=amp)
    before = model.weight.detach().clone()
    for _ in range(4):  # fp16 starts with a scale that is too large, and skips the first steps to find it
        with step.autocast():
            output = model(torch.ones(1, 3))
        step.backward(output.float().square().sum())
        step.update()
    assert output.dtype == dtype
    assert step.scaler.is_enabled() == (amp == "fp16")
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)
