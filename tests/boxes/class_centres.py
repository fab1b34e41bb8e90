"""Embeddings around class centres, for losses with a margin."""

import torch
from torch.nn.functional import normalize

SHAPES = [(1, 2), (8, 5), (40, 12)]


def made(num_samples=8, num_classes=5, size=3, seed=0):
    """Return embeddings and class centres, unit norm and in all directions, and targets."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = normalize(torch.randn(num_samples, size, generator=generator))
    centres = normalize(torch.randn(num_classes, size, generator=generator))
    return embeddings, centres, torch.randint(num_classes, (num_samples,), generator=generator)


def cosines_of(num_samples=8, num_classes=5, seed=0):
    embeddings, centres, targets = made(num_samples, num_classes, seed=seed)
    return embeddings @ centres.T, targets


def equal_with_gradients(ours, theirs, leaf):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(loss, leaf)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
