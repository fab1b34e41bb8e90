"""Embeddings of a few identities, and their distances by a plain loop and a known library."""

import math

import torch
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance

MININGS = ("batch_hard", "batch_all", "semi_hard", "random")
DISTANCES = ("cosine", "euclidean")
SIZES = [(6, 2), (16, 4), (40, 9)]  # samples and identities; with 9 some stand alone


def made(num_samples=16, num_identities=4, size=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(num_samples, size, generator=generator)
    return embeddings, torch.randint(num_identities, (num_samples,), generator=generator)


def library_distance(distance):
    return CosineSimilarity() if distance == "cosine" else LpDistance(normalize_embeddings=False)


def distances_by_hand(embeddings, distance):
    rows = embeddings.double().tolist()

    def norm(row):
        return math.sqrt(sum(value * value for value in row))

    def one(left, right):
        if distance == "euclidean":
            return math.dist(left, right)
        return 1 - sum(a * b for a, b in zip(left, right, strict=True)) / norm(left) / norm(right)

    return [[one(left, right) for right in rows] for left in rows]


def equal_with_gradients(ours, theirs, leaf):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad(loss, leaf)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)
