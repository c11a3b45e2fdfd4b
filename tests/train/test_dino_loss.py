"""DINO's loss and schedules by equations written as loops, and what is said of a collapse."""

import math

import pytest
import torch
import torch.nn.functional as F

from densevit.train.dino.collapse import observe, said_of_collapse
from densevit.train.dino.loss import Centre, dino_loss
from densevit.train.dino.network import DinoHead
from densevit.train.optim import OptimizerOptions, OptimizerStep, ScheduleOptions, create_optimizer
from densevit.train.schedules import clip_each, cosine, warm_up


def test_the_loss_is_that_of_loops():
    views, images, out_dim = 4, 3, 5
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(views, images, out_dim, generator=generator)
    teacher = torch.randn(2, images, out_dim, generator=generator)
    centre = Centre(out_dim, momentum=0.9)
    centre.mean += torch.randn(out_dim, generator=generator)
    kept = centre.mean.clone()
    found = dino_loss(student, centre(teacher, temperature=0.04), temperature=0.1)
    terms = []
    for g in range(2):
        for v in range(views):
            if v == g:
                continue
            for i in range(images):
                target = [math.exp(float(teacher[g, i, k] - kept[k]) / 0.04) for k in range(out_dim)]
                said = [math.exp(float(student[v, i, k]) / 0.1) for k in range(out_dim)]
                pairs = zip(target, said, strict=True)
                terms.append(-sum(t / sum(target) * math.log(s / sum(said)) for t, s in pairs))
    assert float(found) == pytest.approx(sum(terms) / len(terms), rel=1e-4)
    centre.update(teacher)  # raw outputs, once the loss is there
    expected = [0.9 * float(kept[k]) + 0.1 * float(teacher[:, :, k].mean()) for k in range(out_dim)]
    assert centre.mean.tolist() == pytest.approx(expected, rel=1e-4)


def test_the_last_layer_is_of_cosines():
    head = DinoHead(6, 4, hidden_dim=8, bottleneck_dim=5)
    assert [name for name, _ in head.named_parameters()] == [
        *(f"mlp.{i}.{kind}" for i in (0, 2, 4) for kind in ("weight", "bias")),
        *("last_layer.weight_g", "last_layer.weight_v"),
    ]
    assert not head.last_layer.weight_g.requires_grad
    pooled = torch.randn(3, 6)
    head.requires_grad_(False)
    inner = head.mlp(pooled)
    for i in range(3):
        for k in range(4):
            cosine_of = F.cosine_similarity(inner[i], head.last_layer.weight_v[k], dim=0)
            assert float(head.project(pooled)[i, k]) == pytest.approx(float(cosine_of), abs=1e-5)
    assert DinoHead(6, 4, norm_last_layer=False).last_layer.weight_g.requires_grad


def test_schedules_at_chosen_iterations():
    assert [cosine(0.996, 1.0, done=done) for done in (0, 0.5, 1)] == pytest.approx([0.996, 0.998, 1.0])
    assert [warm_up(0.04, 0.07, iteration=i, iters=30) for i in (0, 15, 30, 99)] == pytest.approx(
        [0.04, 0.055, 0.07, 0.07]
    )
    assert warm_up(0.02, 0.07, iteration=0, iters=0) == 0.07


def test_weight_decay_rises_where_there_is_any():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    options = OptimizerOptions(lr=1.0, weight_decay=0.04, no_decay=("norm", "bias"), decay_multipliers={"0": 2.0})
    step = OptimizerStep(create_optimizer(model, options), device=torch.device("cpu"))
    schedule = ScheduleOptions(type="constant", end_weight_decay=0.4)
    for iteration, expected in ((0, 0.04), (50, 0.22), (100, 0.4)):
        step.set_learning_rate(iteration, max_iters=100, schedule=schedule)
        decays = sorted({group["weight_decay"] for group in step.optimizer.param_groups})
        assert decays == pytest.approx([0, expected, 2 * expected][:: 1 if len(decays) == 3 else 2])


def test_gradients_are_clipped_one_by_one():
    first, second = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    first.grad, second.grad = torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4])
    norm = clip_each([first, second], max_norm=1.0)
    assert float(norm) == pytest.approx(math.hypot(5, 0.5))
    assert first.grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-4)
    assert second.grad.tolist() == pytest.approx([0.3, 0.4])


def test_a_collapse_is_said():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(16, 8, generator=generator)
    sharp = F.one_hot(torch.arange(16) % 4, 32).float()
    healthy = observe(features, sharp)
    assert 5 < float(healthy["feature_rank"]) <= 8
    assert float(healthy["mean_entropy"]) == pytest.approx(math.log(4))
    assert said_of_collapse(healthy, out_dim=32) is None
    for changed, targets, sentence in (
        (features, torch.full((16, 32), 1 / 32), "spreads its output evenly"),
        (features, F.one_hot(torch.zeros(16, dtype=torch.int64), 32).float(), "the same one output"),
        (features[:1] + 1e-5 * features, sharp, "features that hardly differ"),
        (features[:, :1] * torch.ones(8), sharp, "features that hardly differ"),
    ):
        assert sentence in said_of_collapse(observe(changed, targets), out_dim=32)
