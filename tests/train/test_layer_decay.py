"""Rates that fall from block to block towards the image, for every family, and the rest of Scaling ViT's recipe."""

from math import sqrt

import pytest
import torch
from torch import nn

import densevit
from densevit.train.layer_decay import layer_factors
from densevit.train.optim import OptimizerOptions, OptimizerStep, ScheduleOptions, create_optimizer, learning_rate
from tests.test_any_with_any import SMALL


def factors_by_name(backbone, decay=0.5):
    factors = layer_factors(nn.ModuleDict(dict(backbone=backbone)), decay)
    return {name: factors.get(parameter, 1.0) for name, parameter in backbone.named_parameters()}


def test_a_vits_factors_are_those_of_beit():
    with torch.device("meta"):
        backbone = densevit.create_backbone("vit_tiny", num_tokens=1, depth=5)
    numbers = {}
    found = factors_by_name(backbone)
    blocks = [block for stage in backbone.stages for block in stage.blocks]
    for name, parameter in backbone.named_parameters():
        inside = [i for i, block in enumerate(blocks) if any(parameter is p for p in block.parameters())]
        first = any(parameter is p for p in backbone.stages[0].downsample.parameters())
        numbers[name] = inside[0] + 1 if inside else 0 if first else 6  # of 5 + 2 layers, as BEiT numbers them
    assert found == {name: 0.5 ** (5 + 2 - 1 - number) for name, number in numbers.items()}
    assert {0, 1, 5, 6} <= set(numbers.values())


def test_what_halves_swins_map_counts_with_the_block_before_it():
    with torch.device("meta"):
        backbone = densevit.create_backbone("swin_tiny", depths=(2, 2, 2, 2))
    found = factors_by_name(backbone)
    assert {v for name, v in found.items() if name.startswith("stages.0.downsample")} == {0.5**9}
    assert {v for name, v in found.items() if name.startswith("stages.1.downsample")} == {0.5**7}
    assert {v for name, v in found.items() if name.startswith("stages.0.blocks.1")} == {0.5**7}
    assert {v for name, v in found.items() if name.startswith("stages.3.blocks.1")} == {0.5}
    assert {v for name, v in found.items() if name.startswith("out_norms")} == {1.0}


@pytest.mark.parametrize("name", SMALL)
def test_in_every_family_rates_rise_from_the_image_to_the_end(name):
    with torch.device("meta"):
        backbone = densevit.create_backbone(name, **SMALL[name])
    found = factors_by_name(backbone, decay=0.9)
    of_blocks = [
        {found[f"stages.{i}.blocks.{j}.{key}"] for key, _ in block.named_parameters()}
        for i, stage in enumerate(backbone.stages)
        for j, block in enumerate(stage.blocks)
    ]
    rates = [rate for each in of_blocks for rate in each]
    assert all(len(each) <= 1 for each in of_blocks)
    assert rates == sorted(rates)
    assert rates[-1] == 0.9
    assert min(found.values()) == 0.9 ** (len(of_blocks) + 1)


def test_layers_and_multipliers_are_factors_of_one_rate_and_decay_has_its_own():
    model = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=3, decoder_options=dict(dim=16))
    options = OptimizerOptions(
        lr=1.0, weight_decay=0.1, layer_decay=0.5, lr_multipliers=dict(head=4.0), decay_multipliers=dict(head=100.0)
    )
    groups = {id(p): group for group in create_optimizer(model, options).param_groups for p in group["params"]}
    last = groups[id(next(model.backbone.stages[-1].blocks[-1].parameters()))]
    head, decoder = (groups[id(next(part.parameters()))] for part in (model.head, model.decoder))
    assert [group["lr"] for group in (last, decoder, head)] == [0.5, 1.0, 4.0]
    assert [group["weight_decay"] for group in (last, decoder, head)] == pytest.approx([0.1, 0.1, 10.0])
    with pytest.raises(ValueError, match="decay_multipliers: the model has no module named 'heads'; did you mean head"):
        create_optimizer(model, OptimizerOptions(lr=1.0, decay_multipliers=dict(heads=2.0)))
    with pytest.raises(ValueError, match="layer_decay must be above 0 and at most 1"):
        OptimizerOptions(lr=1.0, layer_decay=1.5)


def test_rates_fall_as_an_inverse_root_and_cool_down_to_nothing():
    schedule = ScheduleOptions(type="rsqrt", warmup_iters=10, warmup_ratio=0.1, timescale=50, cooldown_iters=20)
    rates = [learning_rate(2.0, t, max_iters=100, schedule=schedule) for t in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9:11] == pytest.approx([2.0, 2.0])
    for t in range(10, 81):
        assert rates[t] == pytest.approx(2.0 / sqrt((t - 10 + 50) / 50))
    for t in range(80, 100):
        assert rates[t] == pytest.approx(2.0 / sqrt((t - 10 + 50) / 50) * (100 - t) / 20)


@pytest.mark.parametrize("options", [dict(type="Adafactor", eps=(None, 1e-3), d=1.0), dict(type="RMSprop", alpha=0.9)])
def test_moments_of_other_shapes_go_on_where_they_were(options):
    torch.manual_seed(0)
    data, options = torch.randn(8, 3, 5), OptimizerOptions(lr=0.01, **options)

    def make():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(5, 4), nn.Conv1d(3, 2, 1))
        return model, OptimizerStep(create_optimizer(model, options), device=torch.device("cpu"))

    def go(model, step, count):
        for _ in range(count):
            step.backward(model(data).square().mean())
            step.update()

    whole, half, rest = make(), make(), make()
    go(*whole, 4)
    go(*half, 2)
    rest[0].load_state_dict(half[0].state_dict())
    rest[1].load(half[1].state())
    go(*rest, 2)
    for a, b in zip(whole[0].parameters(), rest[0].parameters(), strict=True):
        assert torch.equal(a, b)
    other = nn.Sequential(nn.Linear(5, 4), nn.Conv1d(3, 7, 1))
    with pytest.raises(ValueError, match="grouped in another way"):
        OptimizerStep(create_optimizer(other, options), device=torch.device("cpu")).load(half[1].state())
