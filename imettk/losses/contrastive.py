"""Pairs: images of one identity together, others apart."""

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
    """Mean distance of pairs of one identity, plus that of relu(margin - distance) of others (Hadsell et al. 2006).

    Both means are over the pairs that are not 0, and without the original's square, as pytorch-metric-learning has it.

    Args:
        embeddings: (B, D).
        targets: identities, int64 (B,).

    Returns:
        Shares of the samples, float32 (B,), whose mean is the loss; all 0, with gradients, where there is no pair.
    """
    far = distances_between(embeddings, distance)
    same = targets[:, None] == targets[None, :]
    pairs = ~torch.eye(len(targets), dtype=torch.bool, device=targets.device)
    losses = far * (same & pairs), (margin - far).relu() * ~same
    means = [one.sum(1) / (one > 0).sum().clamp(min=1) for one in losses]
    return len(targets) * (means[0] + means[1])


def settings(embedding: EmbeddingConfig, counts: np.ndarray | None) -> dict[str, Any]:
    """Return the parameters that a recipe's section `embedding` gives; see `losses.output_loss`."""
    return {"margin": embedding.margin, "distance": embedding.distance}
