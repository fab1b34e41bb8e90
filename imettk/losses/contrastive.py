"""Contrastive loss: pairs of one identity close together, other pairs apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from imettk.config import EmbeddingConfig
from imettk.losses.distances import Distance, distances_between


def contrastive(
    embeddings: Tensor, targets: Tensor, *, margin: float = 1.0, distance: Distance = "euclidean"
) -> Tensor:
    """Return the mean distance of same-identity pairs plus the mean relu(margin - distance) of other pairs.

    Hadsell, Chopra and LeCun 2006, without its squares.

    Both means are over the pairs with a nonzero loss, as in pytorch-metric-learning.

    Args:
        embeddings: (B, D).
        targets: identities, int64 (B,).

    Returns:
        Share of each sample, float32 (B,), with the loss as their mean. If there is no pair, shares are 0 but still
        have gradients.
    """
    distances = distances_between(embeddings, distance)
    same = targets[:, None] == targets[None, :]
    pairs = ~torch.eye(len(targets), dtype=torch.bool, device=targets.device)
    losses = distances * (same & pairs), (margin - distances).relu() * ~same
    attraction, repulsion = (pair_losses.sum(1) / (pair_losses > 0).sum().clamp(min=1) for pair_losses in losses)
    return len(targets) * (attraction + repulsion)


def settings(embedding: EmbeddingConfig, counts: np.ndarray | None) -> dict[str, Any]:
    """Return the loss's parameters from a recipe's section `embedding`; see `losses.output_loss`."""
    return {"margin": embedding.margin, "distance": embedding.distance}
