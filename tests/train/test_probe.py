"""Nearest neighbours and a linear layer on frozen features, against loops and scikit-learn's equations."""

import math

import pytest
import torch
import torch.nn.functional as F

from densevit.train.probe import linear_logits, neighbour_logits


def clouds(count, *, seed, dim=6):
    """Three clouds of points around directions of their own."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return 3 * torch.eye(dim)[labels] + torch.randn(count, dim, generator=generator), labels


def test_votes_are_those_of_loops():
    (known, labels), (asked, _) = clouds(30, seed=0), clouds(5, seed=1)
    found = neighbour_logits(known, labels, asked, num_classes=3, k=4, temperature=0.1).exp()
    for i in range(5):
        cosines = [float(F.cosine_similarity(asked[i], each, dim=0)) for each in known]
        nearest = sorted(range(30), key=lambda j: -cosines[j])[:4]
        votes = [sum(math.exp(cosines[j] / 0.1) for j in nearest if labels[j] == c) for c in range(3)]
        assert found[i].tolist() == pytest.approx([vote / sum(votes) for vote in votes], rel=1e-4, abs=1e-9)


def test_fewer_images_than_neighbours_all_vote():
    known, labels = clouds(3, seed=0)
    found = neighbour_logits(known, labels, known, num_classes=3, k=20)
    assert found.argmax(1).tolist() == labels.tolist()


def test_the_linear_layer_is_at_its_minimum():
    (known, labels), (asked, truth) = clouds(60, seed=0), clouds(30, seed=1)
    logits = linear_logits(known, labels, asked, num_classes=3, decay=0.1)
    assert float((logits.argmax(1) == truth).float().mean()) > 0.9
    factors = torch.tensor([1, 10, 0.1, 5, 2, 3.0])
    scaled = linear_logits(known * factors + 7, labels, asked * factors + 7, num_classes=3, decay=0.1)
    torch.testing.assert_close(scaled, logits, rtol=1e-2, atol=1e-2)
    mean, deviation = known.mean(0), known.std(0)
    x = (known - mean) / deviation
    weight = torch.zeros(3, 6, requires_grad=True)
    bias = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr=0.5)
    for _ in range(3000):
        optimizer.zero_grad()
        (F.cross_entropy(x @ weight.T + bias, labels) + 0.05 * weight.square().sum()).backward()
        optimizer.step()
    expected = ((asked - mean) / deviation) @ weight.T + bias
    torch.testing.assert_close(logits, expected.detach(), rtol=1e-3, atol=1e-3)
