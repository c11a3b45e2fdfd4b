"""CLIP's loss as its definition in loops, and over processes as in one."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from densevit.losses.contrastive import contrastive_loss


def pairs(count=6, dim=5):
    random = torch.Generator().manual_seed(0)
    return [F.normalize(torch.randn(count, dim, dtype=torch.double, generator=random), dim=1) for _ in range(2)]


def test_it_is_the_mean_of_two_cross_entropies():
    images, texts = pairs()
    total = 0.0
    for i in range(6):
        of_texts = [math.exp(3 * float(images[i] @ texts[j])) for j in range(6)]
        of_images = [math.exp(3 * float(images[j] @ texts[i])) for j in range(6)]
        total -= math.log(of_texts[i] / sum(of_texts)) + math.log(of_images[i] / sum(of_images))
    assert float(contrastive_loss(images, texts, torch.tensor(3.0))) == pytest.approx(total / 12)


def _gradients_of_half(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    scale = torch.tensor(3.0, dtype=torch.double, requires_grad=True)
    images, texts = (part.chunk(2)[rank].clone().requires_grad_() for part in pairs())
    contrastive_loss(images, texts, scale).backward()
    dist.all_reduce(scale.grad)
    torch.save([images.grad, texts.grad, scale.grad], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_the_mean_of_the_gradients_of_two_processes_is_that_of_one_with_all_pairs(tmp_path):
    mp.start_processes(_gradients_of_half, (str(tmp_path),), nprocs=2, start_method="fork")
    images, texts = (part.requires_grad_() for part in pairs())
    scale = torch.tensor(3.0, dtype=torch.double, requires_grad=True)
    contrastive_loss(images, texts, scale).backward()
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for i, whole in enumerate((images.grad, texts.grad)):
        assert torch.allclose(torch.cat([each[i] for each in found]) / 2, whole, atol=1e-12)
    assert torch.allclose(found[0][2] / 2, scale.grad)
