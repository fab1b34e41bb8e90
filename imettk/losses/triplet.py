"""Triplet loss: an anchor closer to an image of its own identity than to any other."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from imettk.config import EmbeddingConfig
from imettk.losses.distances import Distance, distances_between

Mining = Literal["batch_hard", "batch_all", "semi_hard", "random"]
ANCHORS = 16  # of `batch_all` per block: all (B, B, B) triplets at once would not fit in memory


def triplet(
    embeddings: Tensor,
    targets: Tensor,
    *,
    mining: Mining = "batch_hard",
    distance: Distance = "cosine",
    margin: float | None = 0.3,
    violated_only: bool = False,
) -> Tensor:
    """Return the mean over triplets of relu(distance to positive - distance to negative + margin).

    Args:
        embeddings: (B, D).
        targets: identities, int64 (B,); an image whose identity occurs once in the batch is no anchor.
        mining: `batch_hard` takes each anchor's farthest positive and nearest negative; `batch_all` takes every
            triplet, averaging over nonzero losses (both arXiv 1703.07737); `semi_hard` takes each positive with the
            nearest negative farther away than it, or the farthest negative if there is none (after arXiv 1503.03832);
            `random` draws one positive and one negative per anchor.
        margin: None for the soft margin, softplus instead of relu (arXiv 1703.07737), which has no zero losses.
        violated_only: average only over chosen triplets with a nonzero loss, as `batch_all` always does.

    Returns:
        Share of each sample, float32 (B,), with the loss as their mean. If there is no triplet, shares are 0 but still
        have gradients.
    """
    distances = distances_between(embeddings, distance)
    same = targets[:, None] == targets[None, :]
    positive = same & ~torch.eye(len(targets), dtype=torch.bool, device=targets.device)
    if mining == "batch_all":
        sums, total = _all_triplets(distances, positive, ~same, margin)
    elif mining == "semi_hard":
        sums, total = _semi_hard(distances, positive, ~same, margin, violated_only)
    else:
        valid = positive.any(1) & (~same).any(1)
        if mining == "batch_hard":
            to_positive = distances.masked_fill(~positive, -torch.inf).amax(1)
            to_negative = distances.masked_fill(same, torch.inf).amin(1)
        else:
            to_positive, to_negative = _draw_distance(distances, positive), _draw_distance(distances, ~same)
        # Anchors without a triplet hold infinities; masked here as well, because inf - inf would put NaN in the
        # gradient.
        gap = torch.where(valid, to_positive.where(valid, 0) - to_negative.where(valid, 0), 0)
        sums = torch.where(valid, _hinge(gap, margin), 0)
        total = _count_triplets(sums, valid, margin, violated_only)
    # The last term is 0, or NaN if a distance is NaN: the training step must notice that even if no triplet uses it.
    return sums * len(targets) / total.clamp(min=1) + 0 * distances.sum(1)


def settings(embedding: EmbeddingConfig, counts: np.ndarray | None) -> dict[str, Any]:
    """Return the loss's parameters from a recipe's section `embedding`; see `losses.output_loss`."""
    return {
        "mining": embedding.mining,
        "distance": embedding.distance,
        "margin": None if embedding.soft_margin else embedding.margin,
        "violated_only": embedding.violated_only,
    }


def _hinge(gap: Tensor, margin: float | None) -> Tensor:
    return softplus(gap) if margin is None else (gap + margin).relu()


def _count_triplets(losses: Tensor, valid: Tensor, margin: float | None, violated_only: bool) -> Tensor:
    """Count the triplets that the mean is over."""
    # With the soft margin no triplet is satisfied: a loss of 0 is only a rounding of a small one.
    return ((losses > 0) if violated_only and margin is not None else valid).sum()


def _all_triplets(distances: Tensor, positive: Tensor, negative: Tensor, margin: float | None) -> tuple[Tensor, Tensor]:
    """Return the sum of each anchor's triplet losses, (B,), and the number of triplets that count.

    Anchors are processed in blocks; autograd still keeps 5 bytes per triplet: 80 MiB for B = 256.
    """
    sums, counts = [], []
    for first in range(0, len(distances), ANCHORS):
        anchors = slice(first, first + ANCHORS)
        losses = _hinge(distances[anchors, :, None] - distances[anchors, None, :], margin)
        valid = positive[anchors, :, None] & negative[anchors, None, :]
        losses = losses * valid
        sums.append(losses.sum((1, 2)))
        counts.append(_count_triplets(losses, valid, margin, violated_only=True))
    return torch.cat(sums), torch.stack(counts).sum()


def _semi_hard(
    distances: Tensor, positive: Tensor, negative: Tensor, margin: float | None, violated_only: bool
) -> tuple[Tensor, Tensor]:
    """Return the sum of each anchor's losses over its positives, (B,), and the number of triplets that count."""
    known = distances.detach()
    # Negatives in order of distance, everything else last: a binary search then finds the first one behind a positive,
    # without a (B, B, B) tensor.
    ranked, order = known.masked_fill(~negative, torch.inf).sort(1)
    place = torch.searchsorted(ranked, known, right=True)
    last = negative.sum(1, keepdim=True) - 1
    chosen = distances.gather(1, order.gather(1, place.minimum(last).clamp(min=0)))
    valid = positive & negative.any(1, keepdim=True)
    gap = torch.where(valid, distances - chosen, 0)
    losses = torch.where(valid, _hinge(gap, margin), 0)
    return losses.sum(1), _count_triplets(losses, valid, margin, violated_only)


def _draw_distance(distances: Tensor, candidates: Tensor) -> Tensor:
    """Return each anchor's distance to a random candidate, (B,); arbitrary if it has none."""
    chosen = torch.rand_like(distances).masked_fill(~candidates, -1).argmax(1)
    return distances.gather(1, chosen[:, None])[:, 0]
