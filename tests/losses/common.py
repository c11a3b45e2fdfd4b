"""A small batch with ignored pixels, and a loss's value with its gradient."""

import torch

SIZES = [(12,), (7, 9), (3, 4, 5)]
CLASSES = 5


def make_batch(size, *, classes=CLASSES, images=2, ignored=0.2, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, *size, generator=generator, dtype=dtype) * 2
    label = torch.randint(classes, (images, *size), generator=generator)
    label[torch.rand(label.shape, generator=generator) < ignored] = 255
    return logits.requires_grad_(), label


def value_and_gradient(loss, logits):
    (gradient,) = torch.autograd.grad(loss, logits)
    return loss.detach(), gradient
