"""The contrastive loss equals pytorch-metric-learning and a plain loop."""

import itertools

import pytest
import torch
from identity_pairs import DISTANCES, SIZES, distances_by_hand, equal_with_gradients, library_distance, made
from pytorch_metric_learning.losses import ContrastiveLoss

from imettk.losses.contrastive import contrastive


def contrastive_by_hand(embeddings, targets, *, distance, margin):
    far, labels = distances_by_hand(embeddings, distance), targets.tolist()
    shares = [0.0] * len(labels)
    for of_same in (True, False):
        losses = {}
        for left, right in itertools.permutations(range(len(labels)), 2):
            if (labels[left] == labels[right]) == of_same:
                losses[left, right] = far[left][right] if of_same else max(0.0, margin - far[left][right])
        counted = max(1, sum(loss > 0 for loss in losses.values()))
        for (left, _), loss in losses.items():
            shares[left] += len(labels) * loss / counted
    return torch.tensor(shares)


@pytest.mark.parametrize(("num_samples", "num_identities"), SIZES)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("margin", [0.2, 0.5, 1.5])
@pytest.mark.parametrize("seed", range(3))
def test_contrastive_is_that_of_pytorch_metric_learning(num_samples, num_identities, distance, margin, seed):
    embeddings, targets = made(num_samples, num_identities, seed=seed)
    embeddings.requires_grad_()
    # Its cosine distance is a similarity: margins count from the other end.
    margins = dict(pos_margin=1, neg_margin=1 - margin) if distance == "cosine" else dict(neg_margin=margin)
    theirs = ContrastiveLoss(**margins, distance=library_distance(distance))
    shares = contrastive(embeddings, targets, margin=margin, distance=distance)
    assert shares.shape == (num_samples,) and shares.dtype == torch.float32
    torch.testing.assert_close(
        shares, contrastive_by_hand(embeddings, targets, distance=distance, margin=margin), rtol=1e-4, atol=1e-5
    )
    equal_with_gradients(shares.mean(), theirs(embeddings, targets), embeddings)
